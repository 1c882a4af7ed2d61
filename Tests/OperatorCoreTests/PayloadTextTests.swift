import OperatorCore
import Telemetry
import Testing

@Test func `a block is shown event by event, a damaged one by its header and bytes`() {
    let bytes = block([event("probe\u{1B}[2J", 1, at: 1_703_347_200_123, number: 9)], partition: 2)
    let lines = PayloadText.lines(of: bytes)
    #expect(lines.count == 2)
    #expect(lines[0].hasPrefix("a block of 1 events of partition 2"))
    #expect(lines[1].contains("ts=2023-12-23T16:00:00.123Z"))
    #expect(lines[1].contains("seq=9 dns_ms=1.0"))
    #expect(!lines[1].unicodeScalars.contains("\u{1B}"))

    var damaged = bytes
    damaged[70] ^= 1
    let dump = PayloadText.lines(of: damaged)
    #expect(dump[0].contains("wrong_checksum"))
    #expect(dump[1].contains("version 1, partition 2, 1 events"))
    #expect(dump[2].hasPrefix("00000000  51 4f 45 42 01 00"))
    #expect(dump[2].hasSuffix("|QOEB............|"))
}

@Test func `JSON is shown as text, and anything else as bytes`() {
    #expect(PayloadText.lines(of: Array(#" {"a":1}"#.utf8)) == ["JSON:", #" {"a":1}"#])
    #expect(PayloadText.lines(of: []) == ["nothing is left of it"])
    let lines = PayloadText.lines(of: [0xFF, 0x41])
    #expect(lines[1] == "00000000  ff 41" + String(repeating: " ", count: 43) + " |.A|")
    #expect(PayloadText.lines(of: Array(repeating: 0x7B, count: 1)).first == "JSON:")
}

@Test func `columns stand under each other`() {
    var table = TextTable([("NAME", .left), ("N", .right)])
    table.add(["a", "100"])
    table.add(["longer"])
    #expect(table.lines == ["NAME      N", "a       100", "longer"])
}

@Test func `times beyond a calendar are numbers`() {
    #expect(utcText(milliseconds: .max) == "9223372036854775807 ms")
    #expect(utcText(milliseconds: 0) == "1970-01-01T00:00:00Z")
    #expect(utcText(milliseconds: -1) == "1969-12-31T23:59:59.999Z")
}

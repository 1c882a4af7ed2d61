import EventParsing
import FoundationEssentials
import Telemetry
import Testing

private func parseHeartbeat(
    _ json: String, mayPost: (UnsafeRawBufferPointer) -> Bool = { _ in true }
) throws(EventRejection) -> Heartbeat {
    var storage = Array(json.utf8) + [UInt8](repeating: 0, count: EventParser.paddingByteCount)
    let parser = HeartbeatParser()
    let result = storage.withUnsafeMutableBytes { storage in
        Result { () throws(EventRejection) in
            try parser.parse(storage, byteCount: json.utf8.count, mayPost: mayPost)
        }
    }
    return try result.get()
}

/// A heartbeat with one member besides the two that must be there.
private func heartbeat(_ member: String) -> String {
    #"{"client_id":"probe-001","ts_ms":1703347200000,\#(member)}"#
}

struct HeartbeatTests {
    @Test func `a full heartbeat is read and written`() throws {
        let json = """
            {"client_id":"probe-001","ts_ms":1703347200000,"version":"1.2","build":"abc",
             "session_id":"11111111-2222-4333-8444-555555555555","uptime_s":12.5,
             "hostname":"node","external_address":"192.0.2.1","labels":{"site":"a"},
             "capabilities":["http"],"configuration_hash":"x","spool_depth":3,
             "spool_oldest_age_s":1.5,"drops":0,"clock_offset_ms":-3.5,
             "clock_uncertainty_ms":1,"cpu_pct":1.5,"memory_bytes":1048576,
             "last_error":"dial: refused","active_targets":2,
             "recv_ts_ms":1,"source_address":"forged","unknown":[{}]}
            """
        let heartbeat = try parseHeartbeat(json)
        #expect(heartbeat.clientID == "probe-001")
        #expect(heartbeat.labels == ["site": "a"])
        #expect(heartbeat.clockOffsetMilliseconds == -3.5)
        #expect(heartbeat.receivedAtMilliseconds == nil, "only the server says when it received")
        #expect(heartbeat.sourceAddress == nil, "only the server says from where")
        let written = Data(HeartbeatParser.encode(heartbeat))
        #expect(try JSONDecoder().decode(Heartbeat.self, from: written) == heartbeat)
    }

    @Test func `a heartbeat of a probe whose clock is wrong is taken`() throws {
        #expect(try parseHeartbeat(#"{"client_id":"a","ts_ms":0}"#).sentAtMilliseconds == 0)
    }

    @Test(arguments: [
        (#"{"ts_ms":1}"#, "client_id"), (#"{"client_id":"a"}"#, "ts_ms"),
        (#"{"client_id":"","ts_ms":1}"#, "client_id"), (#"{"client_id":7,"ts_ms":1}"#, "client_id"),
        (#"{"client_id":"a","ts_ms":"1"}"#, "ts_ms"), (#"{"client_id":"a","ts_ms":1.5}"#, "ts_ms"),
        (#"{"client_id":"a","ts_ms":-1}"#, "ts_ms"), (#"{"client_id":"a","ts_ms":null}"#, "ts_ms"),
        (heartbeat(#""session_id":"1""#), "session_id"), (heartbeat(#""drops":-1"#), "drops"),
        (heartbeat(#""uptime_s":-0.1"#), "uptime_s"), (heartbeat(#""cpu_pct":"1""#), "cpu_pct"),
        (heartbeat(#""hostname":"a\u0000b""#), "hostname"),
        (heartbeat(#""last_error":"a\nb""#), "last_error"),
        (heartbeat("\"version\":\"\(String(repeating: "a", count: 257))\""), "version"),
        (heartbeat(#""labels":["a"]"#), "labels"), (heartbeat(#""labels":{"":"a"}"#), "labels"),
        (heartbeat(#""labels":{"a":1}"#), "labels.a"),
        (heartbeat(#""capabilities":{}"#), "capabilities"),
        (heartbeat(#""memory_bytes":9007199254740994"#), "memory_bytes"),
        (heartbeat(#""memory_bytes":99999999999999999999"#), "memory_bytes"),
    ])
    func `a bad heartbeat is refused with the field's name`(_ json: String, _ field: String) {
        let rejection = #expect(throws: EventRejection.self) { try parseHeartbeat(json) }
        #expect(rejection?.field == field)
        #expect(rejection?.code == (field == "ts_ms" ? .invalidTimestamp : .invalidRequest))
    }

    @Test(arguments: ["\"e\u{301}\"", #""e\u0301""#, #""\u00e9""#, "\"\u{E9}\""])
    func `both spellings of a name are one client`(_ json: String) throws {
        var asked: [[UInt8]] = []
        let heartbeat = try parseHeartbeat(#"{"client_id":\#(json),"ts_ms":1}"#) {
            asked.append(Array($0))
            return true
        }
        #expect(Array(heartbeat.clientID.text.utf8) == [0xC3, 0xA9])
        #expect(asked == [[0xC3, 0xA9]])
    }

    @Test func `the length of a name is that of its composed form`() throws {
        func parse(_ name: String, _ count: Int) throws -> Int {
            let client = String(repeating: name, count: count)
            return try parseHeartbeat(#"{"client_id":"\#(client)","ts_ms":1}"#)
                .clientID.text.utf8.count
        }
        #expect(try parse("e\u{301}", 127) == 254)
        #expect(throws: EventRejection.self) { try parse("e\u{301}", 128) }
        #expect(throws: EventRejection.self) { try parse("\u{1D160}", 22) }
    }

    /// Without bounds each of these would take seconds, by the square of its length.
    @Test func `keys and names of nothing but accents are refused before they cost anything`() {
        let marks = String(repeating: "\u{315}\u{300}\u{5AE}", count: 10_000)
        for json in [
            #"{"client_id":"\#(marks)","ts_ms":1}"#, heartbeat("\"\(marks)\":1"),
            heartbeat("\"labels\":{\"\(marks)\":\"a\"}"), heartbeat("\"x\":[{\"\(marks)\":1}]"),
            heartbeat("\"labels\":{\"\(String(repeating: "k", count: 257))\":\"a\"}"),
        ] {
            let rejection = #expect(throws: EventRejection.self) { try parseHeartbeat(json) }
            #expect(rejection?.code == .invalidRequest)
        }
    }

    @Test(arguments: [
        (#""client_id":"b""#, "client_id"), (#""client\u005fid":"a""#, "client_id"),
        (#""ts_ms":1"#, "ts_ms"), (#""session_id":null,"session_id":null"#, "session_id"),
    ])
    func `a member that comes twice is refused`(_ member: String, _ field: String) {
        let rejection = #expect(throws: EventRejection.self) {
            try parseHeartbeat(heartbeat(member))
        }
        #expect(rejection?.field == field)
        #expect(rejection?.code == (field == "ts_ms" ? .invalidTimestamp : .invalidRequest))
    }

    @Test(arguments: [
        #""hostname":"\ud83d""#, #""hostname":"\ude80a""#, #""labels":{"\ud83d":"a"}"#,
        #""capabilities":["\ud83d"]"#, #""last_error":"\u009b""#, #""version":"\u007f""#,
    ])
    func `half a surrogate pair and control characters are refused`(_ member: String) {
        let rejection = #expect(throws: EventRejection.self) {
            try parseHeartbeat(heartbeat(member))
        }
        #expect(rejection?.code == .invalidRequest)
    }

    @Test(arguments: ["", "[]", "1", "{", "[{}]", #"{"client_id":"a","ts_ms":1}x"#, "{'a':1}"])
    func `what is no JSON object is refused`(_ json: String) {
        let rejection = #expect(throws: EventRejection.self) { try parseHeartbeat(json) }
        #expect(rejection?.code == .invalidRequest)
    }

    @Test func `numbers beyond double and deep nesting are refused`() {
        for member in [
            #""uptime_s":1e400"#,
            "\"labels\":" + String(repeating: "[", count: 5000)
                + String(repeating: "]", count: 5000),
        ] {
            #expect(throws: EventRejection.self) { try parseHeartbeat(heartbeat(member)) }
        }
    }

    @Test func `more labels or bytes than allowed are refused`() {
        let labels = (0...32).map { "\"l\($0)\":\"\"" }.joined(separator: ",")
        #expect(throws: EventRejection.self) {
            try parseHeartbeat(heartbeat("\"labels\":{\(labels)}"))
        }
        let long = heartbeat("\"x\":\"\(String(repeating: "a", count: 64 << 10))\"")
        let rejection = #expect(throws: EventRejection.self) { try parseHeartbeat(long) }
        #expect(rejection?.code == .payloadTooLarge)
    }

    @Test func `a client the poster may not speak for is refused`() {
        let rejection = #expect(throws: EventRejection.self) {
            try parseHeartbeat(#"{"client_id":"a","ts_ms":1}"#, mayPost: { _ in false })
        }
        #expect(rejection?.code == .forbidden)
    }
}

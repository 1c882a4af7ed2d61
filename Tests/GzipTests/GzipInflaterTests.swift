import Gzip
import TestKit
import Testing

private let text = Array(String(repeating: "what was measured, and when; ", count: 400).utf8)

struct GzipInflaterTests {
    @Test(arguments: 0...9)
    func `what was deflated comes back`(level: Int) throws {
        #expect(try inflate([gzip(text, level: level)]) == text)
        #expect(try inflate([gzip([], level: level)]).isEmpty)
    }

    @Test(arguments: [-1, 10, .max])
    func `a level that does not exist is refused`(level: Int) {
        #expect(throws: GzipDeflater.Failure.invalidLevel(level)) { try gzip([], level: level) }
    }

    @Test func `a body may come in parts of any length`() throws {
        let body = try gzip(text)
        for length in [1, 2, 3, 7, 64, 1000, body.count] {
            let parts = stride(from: 0, to: body.count, by: length).map {
                Array(body[$0..<min($0 + length, body.count)])
            }
            #expect(try inflate(parts) == text, "parts of \(length)")
            #expect(try inflate([[]] + parts + [[]]) == text, "empty parts do no harm")
        }
    }

    @Test func `an inflater serves one body after another, whatever became of the last`() throws {
        let inflater = GzipInflater(outputByteCountMax: text.count)
        let body = try gzip(text)
        for last in [
            body, Array(body.dropLast()), body + body, [1, 2, 3], [], try gzip(text + [0]),
        ] {
            _ = refusal(of: last, with: inflater)
            inflater.reset()
            #expect(try inflate([body], with: inflater) == text)
            #expect(inflater.inputByteCount == body.count)
            #expect(inflater.outputByteCount == text.count)
            inflater.reset()
        }
    }

    @Test func `a refused body stays refused`() {
        let inflater = GzipInflater(outputByteCountMax: 10)
        for _ in 0..<3 {
            #expect(refusal(of: [9, 9], with: inflater) == .malformed)
            #expect(throws: GzipInflater.Failure.self) { try inflater.finish() }
        }
    }

    @Test func `every truncation is found`() throws {
        let body = try gzip(Array(text.prefix(300)))
        for count in 0..<body.count {
            #expect(refusal(of: Array(body.prefix(count))) == .truncated, "\(count) bytes")
        }
    }

    @Test func `anything behind the end is refused`() throws {
        let body = try gzip(text)
        for rest in [[0], [0x1F], [0x1F, 0x8B], body, Array(repeating: 0, count: 512)] {
            #expect(refusal(of: body + rest) == .trailingBytes)
            let inflater = GzipInflater(outputByteCountMax: 1 << 20)
            #expect(throws: GzipInflater.Failure.self) {
                try inflate([body, rest], with: inflater)
            }
        }
    }

    @Test func `a changed bit is found or changes nothing`() throws {
        let content = Array(text.prefix(120))
        let body = try gzip(content)
        var harmless = 0
        for index in body.indices {
            for bit in 0..<8 {
                var changed = body
                changed[index] ^= 1 << UInt8(bit)
                guard let output = try? inflate([changed]) else { continue }
                #expect(output == content, "bit \(bit) of byte \(index)")
                harmless += 1
            }
        }
        // The hints in the header (text or not, time, level, system), and what fills the last byte.
        #expect((49...56).contains(harmless - 1))
    }

    @Test func `what is not gzip is refused`() throws {
        let body = try gzip(text)
        for other: [UInt8] in [
            Array("{\"schema_version\":1}".utf8), [0x78, 0x9C, 0x03, 0x00, 0, 0, 0, 1],
            [0x28, 0xB5, 0x2F, 0xFD, 0, 0], Array(body[10...]), [0x1F, 0x8B, 7] + body[3...],
            [0x1F, 0x8B, 8, 0x20] + body[4...], [0x1F, 0x8B, 8, 0xFF] + body[4...],
        ] {
            #expect(refusal(of: other) == .malformed)
        }
    }

    @Test(arguments: [
        HeaderFields(extra: []), HeaderFields(extra: Array(repeating: 7, count: 1000)),
        HeaderFields(name: ""), HeaderFields(name: "events.json"), HeaderFields(comment: "naïve"),
        HeaderFields(hasChecksum: true),
        HeaderFields(extra: [1, 2, 3, 4], name: "a", comment: "b", hasChecksum: true),
        HeaderFields(name: String(repeating: "n", count: GzipInflater.headerByteCountMax - 11)),
    ])
    func `a header may have its optional fields`(_ fields: HeaderFields) throws {
        let body = withHeader(fields, try gzip(text))
        #expect(try inflate([body]) == text)
        #expect(try inflate(body.map { [$0] }) == text)
    }

    @Test func `a wrong header checksum is found`() throws {
        var body = withHeader(HeaderFields(name: "a", hasChecksum: true), try gzip(text))
        body[12] ^= 1
        #expect(refusal(of: body) == .malformed)
    }

    @Test(arguments: [
        HeaderFields(extra: Array(repeating: 7, count: 60_000)),
        HeaderFields(name: String(repeating: "n", count: 5_000_000)),
        HeaderFields(comment: String(repeating: "n", count: GzipInflater.headerByteCountMax)),
    ])
    func `a longer header is refused`(_ fields: HeaderFields) throws {
        let body = withHeader(fields, try gzip(text))
        let inflater = GzipInflater(outputByteCountMax: 1 << 20)
        #expect(refusal(of: body, with: inflater) == .malformed)
        #expect(inflater.inputByteCount == GzipInflater.headerByteCountMax)
    }

    @Test func `output up to the bound is taken and a byte more refused`() throws {
        for count in [0, 1, 100, 32 << 10, (32 << 10) + 1, 100_000] {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 3) }
            let body = try gzip(bytes)
            let exact = GzipInflater(outputByteCountMax: count, ratioMax: 2000)
            #expect(try inflate([body], with: exact) == bytes)
            guard count > 0 else { continue }
            let small = GzipInflater(outputByteCountMax: count - 1, ratioMax: 2000)
            #expect(refusal(of: body, with: small) == .tooLarge)
        }
        let largest = GzipInflater(outputByteCountMax: .max, ratioMax: .max)
        #expect(try inflate([gzip(text)], with: largest) == text)
    }

    @Test func `small repetitive bodies pass and large ones do not`() throws {
        let free = GzipInflater.ratioFreeByteCount
        let inflater = GzipInflater(outputByteCountMax: 1 << 30)
        let small = try gzip(Array(repeating: 0, count: free))
        #expect(try inflate([small], with: inflater).count == free)
        inflater.reset()
        #expect(
            refusal(of: try gzip(Array(repeating: 0, count: free + 1)), with: inflater)
                == .ratioTooHigh)
    }

    /// A loop that does not end would hang the test (a fault that other inflaters had).
    @Test(arguments: 0..<8 as Range<UInt64>)
    func `any bytes come to an end`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let inflater = GzipInflater(outputByteCountMax: 1 << 16)
        let bodies = try (0...9).map { try gzip(text, level: $0) }
        for _ in 0..<3_000 {
            var body = bodies[Int(random.next() % 10)]
            for _ in 0..<(random.next() % 4) {
                body[Int(random.next() % UInt64(body.count))] = UInt8(
                    truncatingIfNeeded: random.next())
            }
            if random.chance(30) { body.removeLast(Int(random.next() % UInt64(body.count))) }
            if random.chance(10) { body += bodies[Int(random.next() % 10)] }
            inflater.reset()
            let whole = refusal(of: body, with: inflater)
            #expect(inflater.outputByteCount <= 1 << 16 + 1, "seed \(seed)")
            inflater.reset()
            let half = body.count / 2
            let parts = [Array(body[..<half]), Array(body[half...])]
            #expect((try? inflate(parts, with: inflater)) != nil || whole != nil, "seed \(seed)")
        }
    }
}

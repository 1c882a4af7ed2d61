import Glibc
import Gzip
import IngestCore
import TestKit
import Testing

@Suite(.serialized) struct CompressionTests {
    private static func compressed(_ text: String) throws -> [UInt8] {
        try compressed(Array(text.utf8), times: 1)
    }

    fileprivate static func compressed(_ bytes: [UInt8], times: Int) throws -> [UInt8] {
        let deflater = try GzipDeflater(level: 9)
        var result: [UInt8] = []
        for _ in 0..<times {
            bytes.withUnsafeBytes { part in deflater.deflate(part) { result.append(contentsOf: $0) }
            }
        }
        deflater.finish { result.append(contentsOf: $0) }
        return result
    }

    fileprivate func post(
        _ ingest: RunningIngest, _ body: [UInt8], type: String = "application/json",
        extra: String = "", parts: Int = 1
    ) throws -> HTTPClient.Response {
        let client = try HTTPClient(port: ingest.port)
        let extra = "Content-Encoding: gzip\r\n\(extra)"
        try client.send(ingest.head(length: body.count, type: type, extra: extra))
        let size = max(1, (body.count + parts - 1) / parts)
        for start in stride(from: 0, to: body.count, by: size) {
            // A server that has refused may have closed.
            try? client.send(Array(body[start..<min(start + size, body.count)]))
        }
        return try client.response()
    }

    @Test func `one event, an array and lines may be compressed`() async throws {
        try await withIngest { ingest in
            let event = eventJSON()
            let whole = try Self.compressed(event)
            #expect(try post(ingest, whole).status == 202)
            #expect(try post(ingest, whole, parts: whole.count).status == 202)
            let array = try Self.compressed("[\(event),\(event)]")
            #expect(try post(ingest, array).body.contains(#""accepted":2"#))
            let lines = try Self.compressed("\(event)\n\(event)\n\(event)\n")
            #expect(
                try post(ingest, lines, type: "application/x-ndjson").body.contains(
                    #""accepted":3"#))
            #expect(try ingest.storedEvents().count == 7)
        }
    }

    @Test func `what is not one whole gzip member is refused, and the next is not`() async throws {
        try await withIngest { ingest in
            let good = try Self.compressed(eventJSON())
            var wrongSum = good
            wrongSum[good.count - 8] ^= 1
            var wrongLength = good
            wrongLength[good.count - 1] ^= 1
            let bad = [
                Array(good.dropLast()), Array(good.prefix(5)), [], good + [0], good + good,
                wrongSum,
                wrongLength, Array(eventJSON().utf8), [UInt8](repeating: 0x1f, count: 100),
            ]
            for (index, body) in bad.enumerated() {
                let response = try post(ingest, body)
                #expect(response.status == 400, "\(index)")
                #expect(response.headers["connection"] == "close")
                #expect(try post(ingest, good).status == 202, "after \(index)")
            }
            let twice = try post(ingest, good, extra: "Content-Encoding: gzip\r\n")
            #expect(twice.status == 415)
            #expect(try ingest.storedEvents().count == bad.count)
            #expect(eventually { ingest.isIdle() })
        }
    }

    @Test func `compressed and inflated bodies have bounds of their own`() async throws {
        let settings = ["max-inflated-bytes": "64KiB", "max-body-bytes": "4KiB"]
        try await withIngest(settings: settings) { ingest throws in
            let event = eventJSON()
            func padded(_ count: Int) throws -> [UInt8] {
                try Self.compressed(event + String(repeating: " ", count: count - event.utf8.count))
            }
            #expect(try post(ingest, padded(64 << 10)).status == 202)
            #expect(try post(ingest, padded(64 << 10 + 1)).status == 413)
            #expect(try post(ingest, [UInt8](repeating: 0, count: 4097)).status == 413)
            #expect(eventually { ingest.isIdle() })
        }
    }

    @Test func `a bomb costs no memory`() async {
        // In a process of its own, as tests beside it would make it grow as well.
        await #expect(processExitsWith: .success) { try await explodeBombs() }
    }
}

private func explodeBombs() async throws {
    let spaces = [UInt8](repeating: 0x20, count: 1 << 20)
    let bomb = try CompressionTests.compressed(spaces, times: 1024)
    let settings = ["max-body-bytes": "2MiB", "max-inflation-ratio": "1032"]
    try await withIngest(settings: settings) { ingest in
        // The buffers that are kept have their size after the first.
        #expect(try CompressionTests().post(ingest, bomb).status == 413)
        // The allocator grows now and then; what needs the memory needs it every time.
        let growths = try (0..<5).map { _ in
            let before = residentByteCount()
            let response = try CompressionTests().post(ingest, bomb)
            #expect(response.status == 413)
            #expect(response.headers["connection"] == "close")
            return residentByteCount() - before
        }
        #expect(growths.contains { $0 <= 4 << 20 }, "\(growths)")
        #expect(eventually { ingest.isIdle() })
    }
}

private func residentByteCount() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    guard fgets(&line, 256, file) != nil else { return 0 }
    let fields = String(decoding: line.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        .split(separator: " ")
    return fields.count > 1 ? (Int(fields[1]) ?? 0) * sysconf(Int32(_SC_PAGESIZE)) : 0
}

internal import Blocks
internal import Gzip
internal import Telemetry
internal import TestKit

extension SeededGenerator {
    private mutating func below(_ bound: Int) -> Int {
        bound > 0 ? Int(next() % UInt64(bound)) : 0
    }

    /// One of `good` with 0 to 8 changes, mostly few.
    mutating func mutated(_ good: [[UInt8]], words: [[UInt8]]) -> [UInt8] {
        guard !good.isEmpty else { return [] }
        var bytes = good[below(good.count)]
        for _ in 0..<below(chance(50) ? 3 : 9) {
            let index = below(bytes.count + 1)
            let end = min(bytes.count, index + 1 + below(chance(80) ? 8 : 300))
            switch next() % 9 {
            case 0, 1: if index < bytes.count { bytes[index] = UInt8(truncatingIfNeeded: next()) }
            case 2: if index < bytes.count { bytes[index] ^= 1 << UInt8(next() % 8) }
            case 3: bytes.removeSubrange(index..<end)
            case 4: bytes.insert(contentsOf: words[below(words.count)], at: index)
            case 5: bytes.replaceSubrange(index..<end, with: words[below(words.count)])
            case 6: bytes.insert(contentsOf: Array(bytes[index..<end]), at: below(bytes.count + 1))
            case 7:
                let other = good[below(good.count)]
                let start = below(other.count)
                bytes.insert(contentsOf: other[start..<min(other.count, start + 64)], at: index)
            default: if chance(30) { bytes.removeLast(bytes.count - index) }
            }
        }
        return bytes
    }

    /// `start` and then up to `longest` bytes of no meaning.
    mutating func noiseBehind(_ start: ArraySlice<UInt8>, longest: Int) -> [UInt8] {
        Array(start) + (0..<below(longest)).map { _ in UInt8(truncatingIfNeeded: next()) }
    }

    /// One to three events that are good at ``FuzzCorpus/nowMilliseconds``.
    mutating func goodBody() -> [UInt8] {
        let events = (0...below(3)).map { _ in
            var event = event()
            event.measuredAtMilliseconds = FuzzCorpus.nowMilliseconds - Int64(below(1_000_000))
            return json(event)
        }
        let isArray = events.count > 1 && chance(60)
        return Array(
            (isArray ? "[" + events.joined(separator: ",") + "]" : events.joined(separator: "\n"))
                .utf8)
    }

    mutating func heartbeat() -> String {
        var members = [#""client_id":"probe-\#(below(9))é""#, #""ts_ms":1703347200000"#]
        let optional = [
            #""session_id":"11111111-2222-4333-8444-555555555555""#, #""version":"1.2""#,
            #""uptime_s":12.5"#, #""hostname":"node \ud83d\ude80""#,
            #""labels":{"site":"a","é":"b"}"#,
            #""capabilities":["http","dns"]"#, #""spool_depth":3"#, #""drops":0"#,
            #""clock_offset_ms":-3.5"#, #""memory_bytes":1048576"#, #""last_error":"a \"b\"""#,
            #""unknown":[{}]"#,
        ]
        for member in optional where chance(50) { members.append(member) }
        return "{" + members.joined(separator: ",") + "}"
    }

    mutating func gzipBody(level: Int) -> [UInt8] {
        let content: [UInt8]
        switch below(4) {
        case 0: content = Array(repeating: 0, count: below(200_000))
        case 1: content = (0..<below(3_000)).map { _ in UInt8(truncatingIfNeeded: next()) }
        default: content = goodBody()
        }
        return (try? gzip(content, level: level)) ?? []
    }

    mutating func block() -> [UInt8] {
        var builder = BlockBuilder(
            partition: 3, producer: UniqueID(high: 5, low: 6), byteCountMax: 1 << 16)
        for _ in 0...below(4) {
            let received = FuzzCorpus.nowMilliseconds + Int64(below(1000))
            _ = builder.append(event(), receivedAtMilliseconds: received)
        }
        return builder.seal(blockNumber: 1)
    }
}

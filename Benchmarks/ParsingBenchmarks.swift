import Blocks
import EventParsing
import Telemetry

/// The event of the documentation, once or many times as an array, with room behind it.
private struct PostedBody {
    var storage: [UInt8]
    let byteCount: Int
    let eventCount: Int

    init(eventCount: Int) {
        let events = (0..<eventCount).map { index in
            let digits = String(index + 1_000_000_000_000)
            return """
                {"schema_version":1,"event_id":"550e8400-e29b-41d4-a716-\(digits.suffix(12))",\
                "client_id":"probe-001","target":"https://api.example.com","ts_ms":1703347200000,\
                "network_context":{"network_type":"wifi","isp":"Example ISP","asn":64500,\
                "region":"eu-west"},"timing_measurements":{"dns_ms":15.3,"tcp_ms":25.7,\
                "tls_ms":45.2,"ttfb_ms":125.8,"throughput_mbps":95.4},"error_stage":null}
                """
        }
        let text = eventCount == 1 ? events[0] : "[" + events.joined(separator: ",") + "]"
        storage = Array(text.utf8)
        byteCount = storage.count
        storage += repeatElement(0, count: EventParser.paddingByteCount)
        self.eventCount = eventCount
    }
}

/// What `ingest` does with a body: from JSON to a sealed block.
func parsingComparison() -> Comparison {
    let count = 200_000
    let parser = EventParser()
    var body = PostedBody(eventCount: 1000)
    var single = PostedBody(eventCount: 1)
    let rules = EventRules(nowMilliseconds: 1_703_347_260_000)

    func parse(_ body: inout PostedBody, _ use: (EventFields) -> Void) -> UInt64 {
        let byteCount = body.byteCount
        return body.storage.withUnsafeMutableBytes { storage in
            guard let parsed = try? parser.parse(storage, byteCount: byteCount, as: .json) else {
                return 0
            }
            for index in 0..<parsed.eventCount {
                if let fields = try? parser.event(index, rules: rules, mayPost: { _ in true }) {
                    use(fields)
                }
            }
            return UInt64(parsed.eventCount)
        }
    }

    var builder = BlockBuilder(partition: 0, producer: .zero, byteCountMax: 256 << 10)
    var blockNumber: UInt64 = 0
    func encode(_ fields: EventFields) {
        if builder.append(fields) { return }
        blockNumber += 1
        _ = builder.seal(blockNumber: blockNumber)
        _ = builder.append(fields)
    }

    return Comparison(
        title: "Parsing, one thread, \(count) events of \(single.byteCount) bytes",
        unit: "event",
        baseline: .init(name: "reading the bodies (XXH64)", operations: count) {
            (0..<count / 1000).reduce(0) { sum, _ in
                sum &+ XXHash64.hash(body.storage.span.bytes)
            }
        },
        candidates: [
            .init(name: "from JSON to validated fields, batches", operations: count) {
                (0..<count / 1000).reduce(0) { sum, _ in sum &+ parse(&body) { _ in } }
            },
            .init(name: "from JSON to blocks, batches of 1000", operations: count) {
                (0..<count / 1000).reduce(0) { sum, _ in sum &+ parse(&body, encode) }
            },
            .init(name: "from JSON to blocks, one by one", operations: count) {
                (0..<count).reduce(0) { sum, _ in sum &+ parse(&single, encode) }
            },
        ])
}

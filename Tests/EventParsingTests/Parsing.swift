import Blocks
import EventParsing
import Telemetry

/// The moment at which the tests' events are received.
let now: Int64 = 1_703_347_260_000

/// What one event of a body came to, in its value form.
typealias Outcome = Result<Event, EventRejection>

/// Parses `bytes` as `ingest` does, and takes each good event through a block.
func parse(
    _ bytes: [UInt8], as form: EventParser.Form = .json, parser: EventParser = EventParser(),
    nowMilliseconds: Int64 = now,
    retentionMilliseconds: Int64 = EventLimits.retentionMillisecondsDefault,
    mayPost: (UnsafeRawBufferPointer) -> Bool = { _ in true }
) throws(EventRejection) -> [Outcome] {
    let rules = EventRules(
        nowMilliseconds: nowMilliseconds, retentionMilliseconds: retentionMilliseconds)
    var storage = bytes + [UInt8](repeating: 0x7D, count: EventParser.paddingByteCount)
    let result = storage.withUnsafeMutableBytes { storage in
        Result { () throws(EventRejection) in
            let body = try parser.parse(storage, byteCount: bytes.count, as: form)
            return (0..<body.eventCount).map { index in
                Outcome { () throws(EventRejection) in
                    let fields = try parser.event(index, rules: rules, mayPost: mayPost)
                    return try throughBlock(fields)
                }
            }
        }
    }
    return try result.get()
}

func parse(_ text: String, as form: EventParser.Form = .json) throws(EventRejection) -> [Outcome] {
    try parse(Array(text.utf8), as: form)
}

/// The fields as whoever reads the block of them sees them.
private func throughBlock(_ fields: EventFields) throws(EventRejection) -> Event {
    var builder = BlockBuilder(partition: 0, producer: .zero, byteCountMax: 1 << 20)
    precondition(builder.append(fields), "an event fits into an empty block")
    let block = builder.seal(blockNumber: 1)
    return block.withUnsafeBytes { bytes in
        guard let reader = try? BlockReader(validating: bytes) else {
            preconditionFailure("the reader refuses what the parser accepts")
        }
        return reader.event(0)
    }
}

/// The JSON members of a good event; each test replaces or removes some.
struct Members {
    private var members: [(name: String, value: String)] = [
        ("schema_version", "1"),
        ("event_id", "\"550e8400-e29b-41d4-a716-446655440000\""),
        ("client_id", "\"probe-001\""),
        ("target", "\"https://api.example.com\""),
        ("ts_ms", "1703347200000"),
        (
            "network_context",
            #"{"network_type":"wifi","isp":"Example ISP","asn":64500,"region":"eu-west"}"#
        ),
        (
            "timing_measurements",
            #"{"dns_ms":15.3,"tcp_ms":25.7,"tls_ms":45.2,"ttfb_ms":125.8,"throughput_mbps":95.4}"#
        ),
        ("error_stage", "null"),
    ]

    /// With the member set to a JSON value, or removed by nil.
    func with(_ name: String, _ value: String?) -> Members {
        var changed = self
        changed.members.removeAll { $0.name == name }
        if let value { changed.members.append((name, value)) }
        return changed
    }

    /// With the member once more.
    func repeating(_ name: String, _ value: String) -> Members {
        var changed = self
        changed.members.append((name, value))
        return changed
    }

    var json: String {
        "{" + members.map { "\"\($0.name)\":\($0.value)" }.joined(separator: ",") + "}"
    }
}

/// One event as the driver made it; all that the oracle needs to know of it.
struct Sample: Hashable, Sendable {
    let eventID: String
    let client: String
    let target: String
    let measuredAtMilliseconds: Int64
    /// Position in ``metrics`` to value in thousandths of its unit, which JSON carries exactly.
    let thousandths: [Int: Int64]
    let errorStage: String?
    let context: SampleContext?
    /// Nil for a client that does not number its events.
    let numbered: Numbered?

    struct Numbered: Hashable, Sendable {
        let session: String
        let number: Int64
    }

    /// The metrics as SQL names them, in the order of the docs.
    static let metrics = [
        "dns", "tcp", "tls", "ttfb", "throughput", "total", "rtt", "jitter", "loss", "loaded_rtt",
    ]
    static let stages = ["dns", "tcp", "tls", "http", "throughput"]

    /// How JSON calls a metric.
    static func jsonName(_ metric: String) -> String {
        switch metric {
        case "throughput": "throughput_mbps"
        case "loss": "loss_pct"
        default: "\(metric)_ms"
        }
    }

    var json: String {
        let values = thousandths.sorted { $0.key < $1.key }.map { metric, value in
            let fraction = String(1000 + value % 1000).dropFirst()
            return "\"\(Self.jsonName(Self.metrics[metric]))\":\(value / 1000).\(fraction)"
        }
        let stage = errorStage.map { ",\"error_stage\":\"\($0)\"" } ?? ""
        let context = context.map { ",\"network_context\":\($0.json)" } ?? ""
        let sequence =
            numbered.map { ",\"session_id\":\"\($0.session)\",\"seq\":\($0.number)" } ?? ""
        return """
            {"schema_version":1,"event_id":"\(eventID)","client_id":"\(client)",\
            "target":"\(target)","ts_ms":\(measuredAtMilliseconds),\
            "timing_measurements":{\(values.joined(separator: ","))}\(stage)\(context)\(sequence)}
            """
    }
}

/// What a probe says of its network.
struct SampleContext: Hashable, Sendable {
    var networkType: String?
    var isp: String?
    var region: String?
    var resolver: String?
    var sourceIP: String?
    var asn: Int64?

    var json: String {
        var members: [String] = []
        let texts = [
            ("network_type", networkType), ("isp", isp), ("region", region),
            ("resolver", resolver), ("source_ip", sourceIP),
        ]
        for (name, text) in texts {
            if let text { members.append("\"\(name)\":\"\(text)\"") }
        }
        if let asn { members.append("\"asn\":\(asn)") }
        return "{\(members.joined(separator: ","))}"
    }
}

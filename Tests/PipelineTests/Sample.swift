/// One event as the driver made it; all that the oracle needs to know of it.
struct Sample: Hashable, Sendable {
    let eventID: String
    let client: String
    let target: String
    let measuredAtMilliseconds: Int64
    /// Metric to value in thousandths of its unit, which JSON carries exactly.
    let thousandths: [String: Int64]
    let errorStage: String?
    /// Nil for a client that does not number its events.
    let numbered: Numbered?

    struct Numbered: Hashable, Sendable {
        let session: String
        let number: Int64
    }

    static let metrics = ["dns", "tcp", "tls", "ttfb", "throughput"]
    static let stages = ["dns", "tcp", "tls", "http", "throughput"]

    var json: String {
        let values = thousandths.sorted { $0.key < $1.key }.map { metric, value in
            let fraction = String(1000 + value % 1000).dropFirst()
            let unit = metric == "throughput" ? "mbps" : "ms"
            return "\"\(metric)_\(unit)\":\(value / 1000).\(fraction)"
        }
        let stage = errorStage.map { ",\"error_stage\":\"\($0)\"" } ?? ""
        let sequence =
            numbered.map { ",\"session_id\":\"\($0.session)\",\"seq\":\($0.number)" } ?? ""
        return """
            {"schema_version":1,"event_id":"\(eventID)","client_id":"\(client)",\
            "target":"\(target)","ts_ms":\(measuredAtMilliseconds),\
            "timing_measurements":{\(values.joined(separator: ","))}\(stage)\(sequence)}
            """
    }
}

internal import Telemetry

/// The content of one row in a form in which equal rows are equal bytes.
///
/// It says what the log decides and nothing else: no times of writing, no labels, no positions in the stream.
/// All of it is ASCII, since Swift's `String` takes canonically equivalent texts for equal.
package struct CanonicalRow: Hashable, Sendable {
    package enum Table: String, Sendable {
        case cells = "agg_1m"
        case sessions = "probe_sessions"
    }

    package let table: Table
    /// The row's primary key.
    package let key: String
    /// `name=value` each, always in the same order.
    package let fields: [String]
    /// When the minute begins, or when the session's earliest event was measured, Unix milliseconds; nil for a
    /// session without events. Not part of ``line``, which has it already.
    package let startMilliseconds: Int64?
    /// Events counted. Not part of ``line``, which has it already.
    package let eventCount: Int64

    /// The whole row as one line: table, key and fields, separated by tabs.
    package var line: String {
        table.rawValue + "\t" + key + "\t" + fields.joined(separator: "\t")
    }

    /// The row without one of its fields.
    package func without(_ name: String) -> CanonicalRow {
        CanonicalRow(
            table: table, key: key, fields: fields.filter { !$0.hasPrefix(name + "=") },
            startMilliseconds: startMilliseconds, eventCount: eventCount)
    }
}

/// The values of a metric of one cell, nil where the table has NULL.
struct CanonicalMetric {
    var count: Int64
    var sum: Int64?
    var minimum: Double?
    var maximum: Double?
    var quantiles: [Double?]
    /// `bucket << 40 | count` each, as stored.
    var sketch: [Int64]?

    /// Percentiles have seven digits here: enough to tell buckets 2 % apart, and the same for every way to
    /// compute a bucket's middle. Everything else is exact.
    func text(named name: String) -> String? {
        if count == 0, sum == nil, minimum == nil, maximum == nil, sketch == nil,
            quantiles.allSatisfy({ $0 == nil })
        {
            return nil
        }
        let bins = sketch?.map { "\($0 >> 40)*\($0 & 0xFF_FFFF_FFFF)" }.joined(separator: ",")
        let quantiles = zip(["p50", "p95", "p99"], quantiles).map { name, value in
            "\(name):\(canonical(value.map { Float($0) }))"
        }
        return "\(name)=count:\(count) sum:\(canonical(sum)) min:\(canonical(minimum)) "
            + "max:\(canonical(maximum)) \(quantiles.joined(separator: " ")) "
            + "sketch:\(bins ?? "null")"
    }
}

/// A row of `agg_1m`.
struct CanonicalCell {
    var windowStartMilliseconds: Int64
    var client: String
    var target: String
    /// `count_total`, `count_success`, `count_error`, the errors by stage, `late_count`.
    var counts: [Int64]
    var metrics: [CanonicalMetric]
    /// `network_type`, `isp`, `region`, `source_ip`, `resolver`.
    var texts: [String?]
    var asn: Int64?
    var contextMilliseconds: Int64?

    static let countNames = [
        "count_total", "count_success", "count_error", "dns_error_count", "tcp_error_count",
        "tls_error_count", "http_error_count", "throughput_error_count", "late_count",
    ]
    static let textNames = ["network_type", "isp", "region", "source_ip", "resolver"]

    var row: CanonicalRow {
        var fields = zip(Self.countNames, counts).map { "\($0)=\($1)" }
        for (metric, values) in zip(Metric.allCases, metrics) {
            if let text = values.text(named: metric.sqlName) { fields.append(text) }
        }
        for (name, text) in zip(Self.textNames, texts) {
            fields.append("\(name)=\(text.map(quoted) ?? "null")")
        }
        fields.append("asn=\(canonical(asn))")
        fields.append("context_ts_ms=\(canonical(contextMilliseconds))")
        return CanonicalRow(
            table: .cells, key: Self.key(windowStartMilliseconds, client, target), fields: fields,
            startMilliseconds: windowStartMilliseconds, eventCount: counts.first ?? 0)
    }

    static func key(_ windowStartMilliseconds: Int64, _ client: String, _ target: String) -> String
    {
        "window=\(windowStartMilliseconds) client=\(quoted(client)) target=\(quoted(target))"
    }
}

/// A row of `probe_sessions`.
struct CanonicalSession {
    var client: String
    var session: UniqueID
    var partition: Int
    /// Pairs of the first number of a range and the first after it, ascending.
    var counted: [(UInt64, UInt64)]
    var firstMilliseconds: Int64?
    var lastMilliseconds: Int64?
    var events: Int64
    var duplicates: Int64

    var row: CanonicalRow {
        let ranges = counted.map { "[\($0),\($1))" }.joined(separator: ",")
        return CanonicalRow(
            table: .sessions, key: "client=\(quoted(client)) session=\(session)",
            fields: [
                "partition=\(partition)", "counted_seqs={\(ranges)}",
                "first_ts=\(canonical(firstMilliseconds))",
                "last_ts=\(canonical(lastMilliseconds))",
                "events=\(events)", "duplicates=\(duplicates)",
            ], startMilliseconds: firstMilliseconds, eventCount: events)
    }
}

private func canonical(_ value: (some CustomStringConvertible)?) -> String {
    value.map { "\($0)" } ?? "null"
}

/// `text` between quotation marks; what is not printable ASCII by its number.
private func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"", "\\": result += "\\\(scalar)"
        case " "..."~": result.unicodeScalars.append(scalar)
        default: result += "\\u{\(String(scalar.value, radix: 16))}"
        }
    }
    return result + "\""
}

internal import Telemetry

extension Measurement {
    /// The measurement as lines for people: a bar per stage, in the order in which they happened.
    package func waterfall(of target: String, columns: Int = 40) -> String {
        let stages: [(String, Metric)] = [
            ("dns", .dns), ("tcp", .tcp), ("tls", .tls), ("ttfb", .ttfb),
        ]
        let measured = stages.compactMap { name, metric in
            metrics[metric].map { (name, $0.inUnit) }
        }
        let sum = measured.reduce(0) { $0 + $1.1 }
        let whole = max(metrics[.total]?.inUnit ?? 0, sum)
        var lines = [target + (remoteAddress.map { "  \($0)" } ?? "")]
        var begin = 0.0
        for (name, value) in measured {
            lines.append(Self.line(name, value, from: begin, of: whole, columns))
            begin += value
        }
        if let total = metrics[.total]?.inUnit {
            lines.append(Self.line("body", max(0, total - sum), from: begin, of: whole, columns))
            lines.append(Self.line("total", total, from: 0, of: whole, columns))
        }
        lines.append(summary)
        return lines.joined(separator: "\n")
    }

    private var summary: String {
        var parts: [String] = []
        if let status { parts.append("status \(status)") }
        if let tlsVersion { parts.append(tlsVersion) }
        if let bodyBytes { parts.append("\(bodyBytes) bytes") }
        if stoppedAtBudget { parts.append("stopped at the byte budget") }
        if let rate = metrics[.throughput] { parts.append("\(Self.fixed(rate.inUnit)) Mbit/s") }
        if let roundTrip = metrics[.rtt] { parts.append("rtt \(Self.fixed(roundTrip.inUnit)) ms") }
        if let failure { parts.append("FAILED in \(failure.stage.name): \(failure.message)") }
        return "  " + parts.joined(separator: ", ")
    }

    private static func line(
        _ name: String, _ value: Double, from begin: Double, of whole: Double, _ columns: Int
    ) -> String {
        let scale = whole > 0 ? Double(columns) / whole : 0
        // Both are at most `columns`, as no part is larger than the whole.
        let offset = min(columns - 1, Int(begin * scale))
        let length = min(columns - offset, max(1, Int((value * scale).rounded())))
        let bar =
            String(repeating: " ", count: offset) + String(repeating: "█", count: length)
            + String(repeating: " ", count: columns - offset - length)
        return "  \(padded(name, 5))  \(bar)  \(fixed(value)) ms"
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    /// Three decimals, right of a column nine wide.
    private static func fixed(_ value: Double) -> String {
        let thousandths = UInt64(max(0, min(value, 1e12)) * 1000 + 0.5)
        let fraction = String(thousandths % 1000)
        return "\(thousandths / 1000)." + String(repeating: "0", count: 3 - fraction.count)
            + fraction
    }
}

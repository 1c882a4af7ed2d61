package import Telemetry

extension Measurement {
    /// The measurement as lines for people: a bar per stage of an HTTP exchange, else the metrics by their names; then the details.
    package func report(of target: Target) -> String {
        var lines: [String]
        if case .http = target.method {
            lines = [waterfall(of: target.name.text)]
        } else {
            lines = [target.name.text + (remoteAddress.map { "  \($0)" } ?? "")]
            lines += Self.aligned(
                Metric.allCases.compactMap { metric in
                    metrics[metric].map {
                        (metric.sqlName, "\(decimal($0.inUnit)) \(metric.unit.rawValue)")
                    }
                })
            if let failure {
                lines.append("  FAILED in \(failure.stage.name): \(failure.message)")
            }
        }
        if !details.isEmpty {
            lines.append("")
            lines += Self.aligned(details.map { ($0.name, $0.value.text) })
        }
        return lines.joined(separator: "\n")
    }

    private static func aligned(_ rows: [(name: String, value: String)]) -> [String] {
        let width = rows.map(\.name.count).max() ?? 0
        return rows.map { name, value in
            "  " + name + String(repeating: " ", count: width - name.count) + "  " + value
        }
    }
}

extension MeasurementDetail.Value {
    /// For people.
    package var text: String {
        switch self {
        case .text(let text): text
        case .integer(let number): "\(number)"
        case .number(let number): decimal(number)
        case .boolean(let isTrue): isTrue ? "yes" : "no"
        case .integers(let numbers):
            numbers.isEmpty ? "none" : numbers.map { "\($0)" }.joined(separator: ", ")
        }
    }
}

extension Measurement {
    /// An event's JSON with this measurement's details as a last member, `details`; among them, as `error`, why
    /// it failed.
    package func json(in event: Event) -> [UInt8] {
        var text = JSONText()
        text.object { text in
            if let failure { text.member("error", failure.message) }
            for detail in details {
                switch detail.value {
                case .text(let value): text.member(detail.name, value)
                case .integer(let value): text.member(detail.name, value)
                case .number(let value): text.member(detail.name, value)
                case .boolean(let value): text.member(detail.name, value)
                case .integers(let value): text.member(detail.name, value)
                }
            }
        }
        // An event is an object with members, so what is put before its closing brace is one more.
        return event.json.dropLast() + Array(",\"details\":".utf8) + text.bytes
            + Array("}".utf8)
    }
}

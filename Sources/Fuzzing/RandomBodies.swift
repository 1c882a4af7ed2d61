package import Telemetry
package import TestKit

extension SeededGenerator {
    /// The event as some client may write it: members in any order, with or without white space and escapes.
    package mutating func json(_ event: Event) -> String {
        var members = [
            "\"schema_version\":\(chance(80) ? 1 : 7)",
            "\"event_id\":\"\(chance(50) ? event.id.description : event.id.description.uppercased())\"",
            "\"client_id\":\(string(event.clientID))",
            "\"target\":\(string(event.target))",
            "\"ts_ms\":\(event.measuredAtMilliseconds)",
        ]
        if let stage = event.errorStage {
            members.append("\"error_stage\":\"\(stage.name)\"")
        } else if chance(50) {
            members.append("\"error_stage\":null")
        }
        if let sequence = event.sequence {
            members.append("\"session_id\":\"\(sequence.session)\"")
            members.append("\"seq\":\(sequence.number)")
        }
        if !event.context.isEmpty || chance(50) {
            members.append("\"network_context\":\(context(event.context))")
        }
        if !event.metrics.isEmpty || chance(50) {
            let metrics = Metric.allCases.compactMap { metric in
                event.metrics[metric].map { "\"\(metric.jsonName)\":\(decimal($0))" }
            }
            members.append("\"timing_measurements\":\(object(metrics))")
        }
        if chance(20) { members.append("\"unknown\":{\"a\":[1,null,\"\\\\\"]}") }
        return object(members)
    }

    private mutating func context(_ context: NetworkContext) -> String {
        let texts: KeyValuePairs = [
            "source_ip": context.sourceIP, "network_type": context.networkType,
            "isp": context.isp, "region": context.region, "resolver": context.resolver,
        ]
        var members: [String] = []
        for (name, text) in texts {
            if let text { members.append("\"\(name)\":\(string(text))") }
        }
        if let asn = context.asn { members.append("\"asn\":\(asn)") }
        return object(members)
    }

    private mutating func object(_ members: [String]) -> String {
        let space = chance(30) ? " " : ""
        let shuffled = members.shuffled(using: &self)
        return "{\(space)" + shuffled.joined(separator: "\(space),\(space)") + "\(space)}"
    }

    private mutating func string(_ name: Name) -> String {
        var text = ""
        for unit in name.text.utf16 {
            if unit == 0x22 || unit == 0x5C || chance(10) {
                let digits = String(unit, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            } else if UTF16.isSurrogate(unit) {
                // A pair is written by one who sees both halves: here always escaped.
                text += "\\u" + String(unit, radix: 16)
            } else {
                text.unicodeScalars.append(Unicode.Scalar(unit) ?? " ")
            }
        }
        return "\"\(text)\""
    }

    private func decimal(_ value: MetricValue) -> String {
        let digits = String(value.millionths % 1_000_000)
        let zeros = String(repeating: "0", count: 6 - digits.count)
        return "\(value.millionths / 1_000_000).\(zeros)\(digits)"
    }

    /// A body that is nearly right, or noise made of what JSON is made of.
    package mutating func body() -> [UInt8] {
        if chance(30) { return noise() }
        var events: [String] = []
        for _ in 0..<Int.random(in: 1...4, using: &self) { events.append(json(event())) }
        let text =
            chance(50) ? "[" + events.joined(separator: ",") + "]" : events.joined(separator: "\n")
        var bytes = Array(text.utf8)
        for _ in 0..<Int.random(in: 0...6, using: &self) where !bytes.isEmpty {
            let index = Int.random(in: 0..<bytes.count, using: &self)
            switch next() % 5 {
            case 0: bytes[index] = UInt8(truncatingIfNeeded: next())
            case 1: bytes[index] ^= 1 << UInt8(next() % 8)
            case 2: bytes.remove(at: index)
            case 3: bytes.insert(structural(), at: index)
            default: bytes.removeSubrange(index..<min(index + Int(next() % 40), bytes.count))
            }
        }
        return bytes
    }

    private mutating func structural() -> UInt8 {
        Array("{}[]:,\"\\u0-e.tn \n\u{0}".utf8).randomElement(using: &self) ?? 0
    }

    private mutating func noise() -> [UInt8] {
        let words = [
            "{", "}", "[", "]", ":", ",", "\"", "\\", "\\u", "d83d", "null", "true", "1", "-", "e",
            ".",
            "\"ts_ms\"", "\"seq\"", "\"network_context\":{", "\"timing_measurements\":{", " ", "\n",
            "\"dns_ms\":", "\"a", "\u{0}", "é", "9999999999999999999999", "1e999",
        ]
        var text = ""
        for _ in 0..<Int.random(in: 0...60, using: &self) {
            text += words.randomElement(using: &self) ?? ""
        }
        return Array(text.utf8)
    }
}

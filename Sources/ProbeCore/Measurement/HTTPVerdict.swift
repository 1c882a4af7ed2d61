internal import Telemetry
internal import Transport

extension HTTPExpectation {
    /// What to look for in a body: first the expected text, then the forbidden one.
    var searches: [StreamSearch] {
        [bodyText, bodyForbidden].compactMap { $0.map { StreamSearch(for: $0.utf8) } }
    }

    /// What an answer does against the expectations, the first of them; nil when it meets all.
    ///
    /// A body that was left at the byte budget is judged by what was read of it: an expected text that was
    /// not found there fails, as nobody knows that it would have come; a forbidden one that was not
    /// found there does not fail. A body in a coding that nobody asked for cannot be searched, and fails both.
    ///
    /// - Parameter reader: Made with ``searches``.
    func violation(by reader: HTTPResponseReader) -> String? {
        guard let head = reader.head else { return "the server has not answered" }
        if !accepts(status: head.status) {
            let wanted = statuses.map { ", and not \(Self.text(of: $0))" } ?? ""
            return "the server answered \(head.status)\(wanted)"
        }
        if let field, let violation = Self.violation(of: field, by: head) { return violation }
        guard bodyText != nil || bodyForbidden != nil else { return nil }
        let coding = head.value(of: "content-encoding")
        if let coding, coding.lowercased() != "identity" {
            return "expect-body and forbid-body: the body cannot be searched, as it came unasked in"
                + " the coding \(shown(coding))"
        }
        if let bodyText, reader.searches.first?.isFound != true {
            let end = reader.isComplete ? "" : ", where reading stopped at the byte budget"
            return "expect-body: \(shown(bodyText)) is not in the body's \(reader.bodyBytes)"
                + " bytes\(end)"
        }
        if let bodyForbidden, reader.searches.last?.isFound == true {
            return "forbid-body: \(shown(bodyForbidden)) is in the body"
        }
        return nil
    }

    /// What a certificate does against ``certificateValidity``; nil when nothing.
    func violation(by certificate: PeerCertificate, atSeconds now: Int64) -> String? {
        guard let certificateValidity else { return nil }
        let left = certificate.daysLeft(atSeconds: now)
        let wanted = certificateValidity.inSeconds / 86_400
        guard left < wanted else { return nil }
        return "expect-certificate: the certificate of \(shown(certificate.subject)) is valid for"
            + " \(decimal(left)) days, and not for \(decimal(wanted))"
    }

    private static func violation(
        of field: Field, by head: HTTPResponseReader.Head
    ) -> String? {
        let values = head.fields.filter { $0.name == field.name }.map(\.value)
        guard let first = values.first else { return "expect-header: there is no \(field.name)" }
        guard let value = field.value, !values.contains(value) else { return nil }
        return "expect-header: \(field.name) is \(shown(first)), and not \(shown(value))"
    }

    private static func text(of ranges: [ClosedRange<Int>]) -> String {
        let texts = ranges.map {
            $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)"
        }
        return texts.joined(separator: ", ")
    }
}

extension PeerCertificate {
    /// How long it is still valid, in days; negative when it has expired.
    func daysLeft(atSeconds now: Int64) -> Double {
        let secondsPerDay = 86_400.0
        return (Double(expiresAtSeconds) - Double(now)) / secondsPerDay
    }
}

/// A text from elsewhere as a message can show it: quoted, without control characters, and short.
func shown(_ text: String) -> String {
    "\"\(printable(text, lengthMax: 60))\""
}

/// A number for people, to the thousandth at most.
func decimal(_ value: Double) -> String {
    let thousandths = (value * 1000).rounded()
    guard let whole = Int64(exactly: thousandths) else { return "\(value)" }
    let fraction = String(1000 + whole.magnitude % 1000).dropFirst()
    let digits = fraction.reversed().drop { $0 == "0" }.reversed()
    let sign = whole < 0 ? "-" : ""
    return sign + "\(whole.magnitude / 1000)" + (digits.isEmpty ? "" : "." + String(digits))
}

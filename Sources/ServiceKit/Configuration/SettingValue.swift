internal import Spelling

/// A checked value of a setting.
enum SettingValue: Sendable, Equatable {
    case text(String)
    case list([String])
    case integer(Int)
    case number(Double)
    case duration(Duration)
    case address(NetworkAddress)
    case off
    case boolean(Bool)
}

/// Why a text is no value of a setting; the text itself is not repeated if it may be secret.
struct InvalidValue: Error {
    let message: String
}

extension Setting {
    /// Checks what was written for this setting.
    ///
    /// - Parameter texts: One text per occurrence of the flag or element of the YAML sequence; one
    ///   text for everything else.
    func value(of texts: [String]) throws(InvalidValue) -> SettingValue {
        switch kind {
        case .strings:
            return .list(elements(of: texts))
        case .urls(let schemes):
            let urls = elements(of: texts)
            for url in urls { try checkURL(url, schemes: schemes) }
            return .list(urls)
        default:
            guard texts.count == 1, let text = texts.first else {
                throw InvalidValue(message: "has \(texts.count) values; give one")
            }
            return try value(of: text)
        }
    }

    private func value(of text: String) throws(InvalidValue) -> SettingValue {
        switch kind {
        case .string, .strings, .urls:
            return .text(text)
        case .integer(let range):
            guard let value = Int(text) else {
                throw invalid(text, "is not a whole number", example: "\(range.lowerBound)")
            }
            guard range.contains(value) else {
                throw invalid(text, "is not within \(range.lowerBound) and \(range.upperBound)")
            }
            return .integer(value)
        case .number(let range):
            guard let value = Double(text), value.isFinite else {
                throw invalid(text, "is not a number", example: "\(range.lowerBound)")
            }
            guard range.contains(value) else {
                throw invalid(text, "is not within \(range.lowerBound) and \(range.upperBound)")
            }
            return .number(value)
        case .byteCount(let range):
            guard let value = UnitText.byteCount(text) else {
                throw invalid(text, "is not a number of bytes", example: "64KiB or 512MiB")
            }
            guard range.contains(value) else {
                let lower = UnitText.text(ofByteCount: range.lowerBound)
                let upper = UnitText.text(ofByteCount: range.upperBound)
                throw invalid(text, "is not within \(lower) and \(upper)")
            }
            return .integer(value)
        case .duration:
            return .duration(try duration(text))
        case .durationIn(let range):
            let value = try duration(text)
            guard range.contains(value) else {
                let lower = UnitText.text(of: range.lowerBound)
                let upper = UnitText.text(of: range.upperBound)
                throw invalid(text, "is not within \(lower) and \(upper)")
            }
            return .duration(value)
        case .address:
            return .address(try address(text, example: "0.0.0.0:8080"))
        case .addressOrOff:
            return text == "off"
                ? .off : .address(try address(text, example: "0.0.0.0:9090, or off"))
        case .boolean:
            switch text.lowercased() {
            case "true", "yes", "on", "1": return .boolean(true)
            case "false", "no", "off", "0": return .boolean(false)
            default: throw invalid(text, "is neither true nor false")
            }
        case .choice(let words):
            guard words.contains(text) else {
                let meant = Spelling.nearest(to: text, in: words)
                let list = "choose one of \(words.joined(separator: ", "))"
                let hint = meant.map { "did you mean \($0)? Otherwise \(list)" } ?? list
                throw invalid(text, "is not a known choice; \(hint)")
            }
            return .text(text)
        case .path:
            guard !text.isEmpty, !text.utf8.contains(0) else {
                throw invalid(text, "is not a path")
            }
            return .text(text)
        case .url(let schemes):
            try checkURL(text, schemes: schemes)
            return .text(text)
        }
    }

    private func elements(of texts: [String]) -> [String] {
        texts.flatMap { $0.split(separator: ",") }
            .map { String($0.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()) }
            .filter { !$0.isEmpty }
    }

    private func duration(_ text: String) throws(InvalidValue) -> Duration {
        guard let value = UnitText.duration(text) else {
            throw invalid(text, "is not a duration", example: "500ms, 30s, 5m or 2h")
        }
        return value
    }

    private func address(_ text: String, example: String) throws(InvalidValue) -> NetworkAddress {
        guard let value = NetworkAddress(text) else {
            throw invalid(text, "is not host:port", example: example)
        }
        return value
    }

    private func checkURL(_ text: String, schemes: [String]) throws(InvalidValue) {
        let example = "\(schemes.first ?? "http")://127.0.0.1"
        guard let separator = text.firstRange(of: "://") else {
            throw invalid(text, "is not a URL", example: example)
        }
        let scheme = text[..<separator.lowerBound].lowercased()
        guard schemes.contains(scheme) else {
            let allowed = schemes.map { "\($0)://" }.joined(separator: " or ")
            throw invalid(text, "does not begin with \(allowed)")
        }
        // libpq allows an empty authority: the socket folder is then its default.
        let isEmpty = text[separator.upperBound...].isEmpty
        guard !isEmpty,
            !text.unicodeScalars.contains(where: { $0.value <= 0x20 || $0.value == 0x7f })
        else { throw invalid(text, "is not a URL", example: example) }
    }

    private func invalid(
        _ text: String, _ complaint: String, example: String? = nil
    ) -> InvalidValue {
        let subject: String
        if isSecret {
            subject = "the value"
        } else {
            subject = "'\((isURL ? Redaction.url(text) : text).prefix(Self.longestQuotation))'"
        }
        let advice = example.map { "; write for example \($0)" } ?? ""
        return InvalidValue(message: "\(subject) \(complaint)\(advice)")
    }

    /// More of a wrong value says nothing more about it.
    private static let longestQuotation = 200
}

/// The writing rules of Prometheus's text format 0.0.4.
enum PrometheusText {
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// A valid metric name: letters, digits, `_` and `:`, not beginning with a digit; a counter's
    /// ends in `_total`.
    static func name(_ label: String, isCounter: Bool) -> String {
        let name = sanitized(label, allowColon: true)
        return isCounter && !name.hasSuffix("_total") ? name + "_total" : name
    }

    static func labelName(_ name: String) -> String { sanitized(name, allowColon: false) }

    static func escapedLabel(_ value: String) -> String {
        escaped(value, quotes: true)
    }

    static func escapedHelp(_ text: String) -> String {
        escaped(text, quotes: false)
    }

    /// Whole numbers without a fraction, as people write them.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if value == value.rounded(), abs(value) < 1e15 { return String(Int64(value)) }
        return value.description
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    private static func sanitized(_ name: String, allowColon: Bool) -> String {
        var result = ""
        for byte in name.utf8 {
            let isDigit = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            let isLetter = (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
            let isColon = allowColon && byte == UInt8(ascii: ":")
            if isDigit && result.isEmpty { result += "_" }
            let keeps = isDigit || isLetter || isColon || byte == UInt8(ascii: "_")
            result.unicodeScalars.append(keeps ? Unicode.Scalar(byte) : "_")
        }
        return result.isEmpty ? "_" : result
    }
}

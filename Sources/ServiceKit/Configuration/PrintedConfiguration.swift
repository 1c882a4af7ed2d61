/// The effective configuration as YAML, each value with its origin in a comment.
package enum PrintedConfiguration {
    /// Valid YAML that sets the same values again, except for what is masked.
    package static func yaml(of settings: Settings, program: String) -> String {
        var lines = ["# The effective configuration of \(program). *** stands for a secret."]
        for entry in settings.entries where entry.setting.name != SharedSettings.config.name {
            let comment = "  # \(LineEscaping.escaped(entry.origin.description))"
            let name = entry.setting.name
            switch entry.value {
            case nil where entry.setting.kind == .boolean:
                lines.append("\(name): false\(comment)")
            case nil:
                lines.append("# \(name) is not set")
            case .boolean(let value):
                lines.append("\(name): \(value)\(comment)")
            case .list(let elements):
                let values = elements.map { scalar($0, of: entry.setting) }
                if values.isEmpty {
                    lines.append("\(name): []\(comment)")
                } else {
                    lines.append("\(name):\(comment)")
                    lines += values.map { "  - \($0)" }
                }
            default:
                lines.append(
                    "\(name): \(scalar(entry.texts.first ?? "", of: entry.setting))\(comment)")
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// A value as it may be shown.
    static func shown(_ text: String, of setting: Setting) -> String {
        if setting.isSecret { return Redaction.mask }
        return setting.isURL ? Redaction.url(text) : text
    }

    private static func scalar(_ text: String, of setting: Setting) -> String {
        quoted(shown(text, of: setting))
    }

    /// Plain where YAML reads it back as the same text, else in double quotes.
    private static func quoted(_ text: String) -> String {
        let isPlain =
            text.unicodeScalars.allSatisfy { scalar in
                scalar.properties.isAlphabetic && scalar.isASCII
                    || scalar.properties.numericType != nil && scalar.isASCII
                    || "/._-:@?=&+%*".unicodeScalars.contains(scalar)
            }
            && text.first.map { $0.isLetter || $0.isNumber || $0 == "/" } == true
            && text.last != ":"
            && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(
                text.lowercased())
        if isPlain { return text }
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where LineEscaping.isUnsafe(scalar):
                let digits = String(scalar.value, radix: 16)
                result += "\\U" + String(repeating: "0", count: 8 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

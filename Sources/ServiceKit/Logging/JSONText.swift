/// Writes JSON by hand, for small documents of known shape.
package enum JSONText {
    /// Appends a string literal, quotes included.
    ///
    /// Escapes what RFC 8259 requires, and also DEL, C1 controls, line separators and direction
    /// overrides, so that a document can be looked at on a terminal.
    package static func append(_ text: String, to document: inout String) {
        document += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": document += "\\\""
            case "\\": document += "\\\\"
            case "\n": document += "\\n"
            case "\r": document += "\\r"
            case "\t": document += "\\t"
            case _ where LineEscaping.isUnsafe(scalar):
                let digits = String(scalar.value, radix: 16)
                document += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: document.unicodeScalars.append(scalar)
            }
        }
        document += "\""
    }

    /// The text as a string literal.
    package static func literal(_ text: String) -> String {
        var literal = ""
        append(text, to: &literal)
        return literal
    }
}

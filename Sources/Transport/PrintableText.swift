/// A text from elsewhere for people's eyes: its beginning, without control characters.
package func printable(_ text: String, lengthMax: Int) -> String {
    let scalars = text.unicodeScalars.prefix(lengthMax).map { scalar in
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
            .paragraphSeparator:
            "\u{FFFD}" as Unicode.Scalar
        default: scalar
        }
    }
    var result = ""
    result.unicodeScalars.append(contentsOf: scalars)
    return text.unicodeScalars.count > lengthMax ? result + "…" : result
}

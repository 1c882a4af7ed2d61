internal import Logging

/// One log event, to be written as text or JSON.
struct LogLine {
    var time: WallClock.Instant
    var level: Logger.Level
    var logger: String
    var message: String
    var metadata: Logger.Metadata

    /// The most bytes of one value; longer ones are cut and say so.
    static let longestValue = 8192
    /// The most fields, list elements or levels of nesting written out.
    private static let mostElements = 64
    private static let deepestNesting = 8

    /// `2026-01-02T03:04:05.678Z info  ingest: message key=value`, with a newline.
    var text: String {
        var line = time.rfc3339
        line += " "
        line += level.rawValue
        line += String(repeating: " ", count: max(1, 9 - level.rawValue.utf8.count))
        line += LineEscaping.escaped(logger)
        line += ": "
        line += LineEscaping.escaped(Self.cut(message))
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }).prefix(Self.mostElements) {
            line += " "
            line += Self.word(key)
            line += "="
            line += Self.word(Self.cut("\(value)"))
        }
        line += "\n"
        return line
    }

    /// One JSON object with `ts`, `level`, `logger`, `message` and the metadata, with a newline.
    var json: String {
        var line = "{\"ts\":\""
        line.reserveCapacity(256)
        line += time.rfc3339
        line += "\",\"level\":\""
        line += level.rawValue
        line += "\",\"logger\":"
        JSONText.append(logger, to: &line)
        line += ",\"message\":"
        JSONText.append(Self.cut(message), to: &line)
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }).prefix(Self.mostElements) {
            line += ","
            // A field may not stand twice in an object.
            JSONText.append(Self.ownKeys.contains(key) ? "metadata.\(key)" : key, to: &line)
            line += ":"
            Self.append(value, to: &line, depth: 0)
        }
        line += "}\n"
        return line
    }

    private static let ownKeys: Set = ["ts", "level", "logger", "message"]

    private static func append(
        _ value: Logger.Metadata.Value, to line: inout String, depth: Int
    ) {
        guard depth < deepestNesting else {
            JSONText.append("...", to: &line)
            return
        }
        switch value {
        case .string(let text):
            JSONText.append(cut(text), to: &line)
        case .stringConvertible(let value):
            switch value {
            case let number as any BinaryInteger: line += number.description
            case let number as Double where number.isFinite: line += number.description
            case let flag as Bool: line += flag ? "true" : "false"
            default: JSONText.append(cut(value.description), to: &line)
            }
        case .array(let elements):
            line += "["
            for (position, element) in elements.prefix(mostElements).enumerated() {
                if position > 0 { line += "," }
                append(element, to: &line, depth: depth + 1)
            }
            line += "]"
        case .dictionary(let fields):
            line += "{"
            let sorted = fields.sorted { $0.key < $1.key }.prefix(mostElements)
            for (position, field) in sorted.enumerated() {
                if position > 0 { line += "," }
                JSONText.append(field.key, to: &line)
                line += ":"
                append(field.value, to: &line, depth: depth + 1)
            }
            line += "}"
        }
    }

    /// As it is if it reads as one word, else in quotes.
    private static func word(_ text: String) -> String {
        let needsQuotes = text.isEmpty || text.utf8.contains { " \"=".utf8.contains($0) }
        let escaped = LineEscaping.escaped(text)
        return needsQuotes ? "\"\(escaped.replacing("\"", with: "\\\""))\"" : escaped
    }

    private static func cut(_ text: String) -> String {
        guard text.utf8.count > longestValue else { return text }
        let prefix = String(decoding: text.utf8.prefix(longestValue), as: UTF8.self)
        return "\(prefix)... (\(text.utf8.count) bytes)"
    }
}

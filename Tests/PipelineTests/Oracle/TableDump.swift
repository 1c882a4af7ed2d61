import Foundation

/// A table as text: what was expected, and what is there.
struct TableDump {
    enum Column {
        case text(String, String)
        /// The same but for what the last bits of a double may lose.
        case close(String, Double)
        /// Not determined.
        case any(String)

        var name: String {
            switch self {
            case .text(let name, _), .close(let name, _), .any(let name): name
            }
        }

        var description: String {
            switch self {
            case .text(_, let text): text
            case .close(_, let value): "\(value)"
            case .any: "*"
            }
        }

        func matches(_ found: String) -> Bool {
            switch self {
            case .text(_, let text): text == found
            case .close(_, let value):
                Double(found).map { abs($0 - value) <= 1e-9 * abs(value) } ?? false
            case .any: true
            }
        }
    }

    let rows: [String: [Column]]

    /// Where the table that was found differs; also keeps both as files for `diff` when it does.
    func differences(from found: [String: [String]], keptAs name: String) throws -> [String] {
        var lines: [String] = []
        var expectedText = ""
        var foundText = ""
        for key in Set(rows.keys).union(found.keys).sorted() {
            let wanted = rows[key] ?? []
            let actual = found[key] ?? []
            // What matches is printed alike on both sides.
            expectedText += key + " " + wanted.map(\.description).joined(separator: " ") + "\n"
            let shown = actual.enumerated().map { index, text in
                index < wanted.count && wanted[index].matches(text)
                    ? wanted[index].description : text
            }
            foundText += key + " " + shown.joined(separator: " ") + "\n"
            if wanted.isEmpty || actual.isEmpty {
                lines.append("\(key): \(actual.isEmpty ? "missing" : "should not be there")")
                continue
            }
            if wanted.count != actual.count { lines.append("\(key): \(actual.count) columns") }
            for (column, text) in zip(wanted, actual) where !column.matches(text) {
                lines.append(
                    "\(key): \(column.name) is \(text) instead of \(column.description)")
            }
        }
        guard expectedText != foundText || !lines.isEmpty else { return [] }
        try expectedText.write(toFile: "\(name).expected", atomically: true, encoding: .utf8)
        try foundText.write(toFile: "\(name).found", atomically: true, encoding: .utf8)
        let shownCount = 10
        let rest = lines.count > shownCount ? ["\(lines.count) differences"] : []
        // A sketch is long, and the files have all of it.
        return lines.prefix(shownCount).map { String($0.prefix(200)) } + rest + ["see \(name).expected and .found"]
    }
}

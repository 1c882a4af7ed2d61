/// Variables from a file of lines `NAME=value`, as compose reads its `.env`.
package struct SettingsFile: Sendable, Hashable {
    package private(set) var values: [String: String] = [:]
    package private(set) var problems: [String] = []

    /// - Parameter name: The file's, for its problems.
    package init(_ text: String, name: String) {
        let lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            let content = Self.trimmed(String(Substring(line)))
            if content.isEmpty || content.hasPrefix("#") { continue }
            let parts = content.split(
                separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let key = Self.trimmed(String(parts[0]))
            guard parts.count == 2, Self.isName(key) else {
                problems.append(
                    "\(name):\(index + 1): a line is NAME=value, such as QOE_IMAGE=qoe:1.2; empty lines and "
                        + "lines with # are left alone")
                continue
            }
            var value = Self.trimmed(String(parts[1]))
            for quote in ["\"", "'"] where value.count >= 2 && value.hasPrefix(quote) {
                if value.hasSuffix(quote) { value = String(value.dropFirst().dropLast()) }
            }
            // It goes on into a file of lines.
            guard !value.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else {
                problems.append("\(name):\(index + 1): \(key) has a control character")
                continue
            }
            values[key] = value
        }
    }

    package static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first)
        else { return false }
        return text.utf8.allSatisfy {
            (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "_")
        }
    }

    private static func trimmed(_ text: String) -> String {
        let blank: Set<Character> = [" ", "\t", "\r"]
        var rest = text[...]
        while let first = rest.first, blank.contains(first) { rest.removeFirst() }
        while let last = rest.last, blank.contains(last) { rest.removeLast() }
        return String(rest)
    }

    /// Lines of a file that compose reads: values stand in single quotes, so that nothing in them is replaced.
    package static func text(_ values: [String: String]) -> String {
        values.sorted { $0.key < $1.key }.map { name, value in
            let quoted = value.split(separator: "'", omittingEmptySubsequences: false)
                .joined(separator: #"\'"#)
            return "\(name)='\(quoted)'\n"
        }.joined()
    }
}

import Foundation

/// The SQL of a document: each query with the output that is shown below it.
struct SQLDocument {
    /// What a block is run as.
    enum Fence: String {
        /// A question: anybody who may read asks it.
        case reader = "```sql"
        /// Something that an administrator does; it changes something.
        case administrator = "```sql administrator"
    }

    struct Block {
        let fence: Fence
        let sql: String
        /// The line of the document that the query begins on, from 1.
        let line: Int
        /// The lines of the output that is shown below; nil when none is.
        let output: Range<Int>?
    }

    let path: String
    private(set) var lines: [Substring]
    private(set) var blocks: [Block] = []

    init(path: String) throws {
        self.path = path
        lines = try String(contentsOfFile: path, encoding: .utf8)
            .split(separator: "\n", omittingEmptySubsequences: false)
        var index = 0
        while index < lines.count {
            let fence = Fence(rawValue: String(lines[index]))
            index += 1
            guard let fence else { continue }
            let end = lines[index...].firstIndex(of: Self.end) ?? lines.endIndex
            blocks.append(
                Block(
                    fence: fence, sql: lines[index..<end].joined(separator: "\n"), line: index + 1,
                    output: output(after: end)))
            index = end
        }
    }

    private static let end: Substring = "```"

    /// The lines of the block without a language that is the next thing after line `end`.
    private func output(after end: Int) -> Range<Int>? {
        guard let start = lines[min(end + 1, lines.count)...].firstIndex(where: { !$0.isEmpty }),
            lines[start] == Self.end,
            let stop = lines[(start + 1)...].firstIndex(of: Self.end)
        else { return nil }
        return start + 1..<stop
    }

    /// The headings of a table as psql prints it.
    static func headings(_ table: some Sequence<Substring>) -> [String] {
        guard let first = table.first(where: { _ in true }) else { return [] }
        return first.split(separator: "|", omittingEmptySubsequences: false)
            .map { $0.trimmingCharacters(in: .whitespaces) }
    }

    /// Puts these outputs in the place of those that are shown, and writes the document.
    ///
    /// - Parameter outputs: By the blocks' ``Block/line``.
    func rewrite(with outputs: [Int: [Substring]]) throws {
        var lines = lines
        for block in blocks.reversed() {
            guard let output = block.output, let made = outputs[block.line] else { continue }
            lines.replaceSubrange(output, with: made)
        }
        try lines.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
    }
}

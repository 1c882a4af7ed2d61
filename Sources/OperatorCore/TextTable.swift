/// Rows for a terminal, with columns under each other.
package struct TextTable {
    package enum Alignment: Sendable {
        case left, right
    }

    private let columns: [(title: String, alignment: Alignment)]
    private var rows: [[String]] = []

    package init(_ columns: [(title: String, alignment: Alignment)]) {
        self.columns = columns
    }

    /// Adds a row; what is missing at its end stays empty.
    package mutating func add(_ cells: [String]) {
        rows.append(cells)
    }

    /// The title line and one line for each row.
    package var lines: [String] {
        let all = [columns.map(\.title)] + rows
        let widths = columns.indices.map { column in
            all.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        return all.map { cells in
            var line = ""
            for (index, column) in columns.enumerated() {
                let text = index < cells.count ? cells[index] : ""
                let gap = String(repeating: " ", count: widths[index] - text.count)
                line +=
                    (index == 0 ? "" : "  ") + (column.alignment == .left ? text + gap : gap + text)
            }
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}

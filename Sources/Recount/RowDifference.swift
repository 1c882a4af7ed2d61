/// Where the tables are not what the log says.
package enum RowDifference: Hashable, Sendable {
    /// The log has events for a row that the table does not have.
    case missing(CanonicalRow)
    /// The table has a row that the log has no events for.
    case unexpected(CanonicalRow)
    /// Both have it, with other content.
    case different(recounted: CanonicalRow, stored: CanonicalRow)

    package var row: CanonicalRow {
        switch self {
        case .missing(let row), .unexpected(let row), .different(let row, _): row
        }
    }

    /// The differences between the rows of one table; equal rows have equal lines.
    ///
    /// - Returns: in the order of `recounted`, then what `stored` has besides.
    package static func between(
        recounted: some Sequence<CanonicalRow>, stored: some Sequence<CanonicalRow>
    ) -> [RowDifference] {
        var rest: [String: CanonicalRow] = [:]
        var order: [String] = []
        for row in stored {
            rest[row.key] = row
            order.append(row.key)
        }
        var differences: [RowDifference] = []
        for row in recounted {
            guard let found = rest.removeValue(forKey: row.key) else {
                differences.append(.missing(row))
                continue
            }
            if found.line != row.line {
                differences.append(.different(recounted: row, stored: found))
            }
        }
        for key in order {
            if let row = rest[key] { differences.append(.unexpected(row)) }
        }
        return differences
    }

    /// The fields that differ, as the log and as the table have them.
    package var fields: [(recounted: String?, stored: String?)] {
        guard case .different(let recounted, let stored) = self else { return [] }
        func byName(_ row: CanonicalRow) -> [(name: Substring, text: String)] {
            row.fields.map { ($0.prefix { $0 != "=" }, $0) }
        }
        let left = byName(recounted)
        let right = byName(stored)
        var pairs: [(String?, String?)] = left.map { field in
            (field.text, right.first { $0.name == field.name }?.text)
        }
        for field in right where !left.contains(where: { $0.name == field.name }) {
            pairs.append((nil, field.text))
        }
        return pairs.filter { $0.0 != $0.1 }
    }
}

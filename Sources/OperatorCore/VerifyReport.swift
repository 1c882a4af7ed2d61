internal import Recount

/// What a comparison of the tables with the stream came to.
package struct VerifyReport: Sendable {
    /// Minutes that begin earlier were not compared, Unix milliseconds; nil when all were.
    package var fromMilliseconds: Int64?
    /// Minutes, rows of `agg_1m` and the events they count.
    package var minutes = 0
    package var rows = 0
    package var events: Int64 = 0
    /// Rows of `probe_sessions`.
    package var sessions = 0
    /// Messages read from the stream.
    package var messages: Int64 = 0
    /// What was left out and why, for people.
    package var notCompared: [String] = []
    package var differences: [Difference] = []

    package var isEqual: Bool { differences.isEmpty }

    /// One row that is not what the stream says.
    package struct Difference: Hashable, Sendable {
        package enum Kind: String, Sendable {
            /// The stream has events for it, the table has no such row.
            case missing
            /// The table has it, the stream has no events for it.
            case unexpected
            case different
        }

        package var table: String
        package var key: String
        package var kind: Kind
        /// `name=value` as the stream and as the table has it, where they differ; nil is absent.
        package var fields: [Field]

        package struct Field: Hashable, Sendable {
            package var stream: String?
            package var table: String?
        }
    }
}

extension VerifyReport.Difference {
    init(_ difference: RowDifference) {
        table = difference.row.table.rawValue
        key = difference.row.key
        switch difference {
        case .missing(let row):
            kind = .missing
            fields = row.fields.map { Field(stream: $0, table: nil) }
        case .unexpected(let row):
            kind = .unexpected
            fields = row.fields.map { Field(stream: nil, table: $0) }
        case .different:
            kind = .different
            fields = difference.fields.map { Field(stream: $0.recounted, table: $0.stored) }
        }
    }
}

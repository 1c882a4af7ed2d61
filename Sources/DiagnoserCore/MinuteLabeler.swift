package import Diagnosis
package import Postgres
package import Store
internal import Telemetry
internal import Windowing

/// Labels the rows of `agg_1m` that changed.
///
/// Blocking; used from one owned thread.
package final class MinuteLabeler {
    private let reader: DiagnosisStore
    private let writer: DiagnosisStore
    private var cursor: PostgresTimestamp?

    /// What one round has done.
    package struct Round: Sendable {
        /// Rows written, by label; nil stands for rows that nothing can be said about.
        package var labelled: [MinuteLabel?: Int] = [:]
        /// Rows that changed while they were looked at; they come again.
        package var skipped = 0
    }

    /// - Parameters:
    ///   - reader: Where minutes are read; may be a replica.
    ///   - writer: Where labels are written; may be the same.
    package init(reader: DiagnosisStore, writer: DiagnosisStore) {
        self.reader = reader
        self.writer = writer
    }

    /// Labels what has changed since the last round; the first round looks at all that is known.
    ///
    /// - Throws: ``PostgresError``; the next round begins where this one did.
    package func round() throws(PostgresError) -> Round {
        var round = Round()
        let changes = try reader.changedWindows(since: cursor)
        for window in changes.windows.reversed() {
            var labels: [DiagnosisLabel] = []
            for row in try reader.undiagnosedRows(of: window) {
                let label = MinuteRules.label(of: MinuteSummary(row.row.cell))
                labels.append(
                    DiagnosisLabel(
                        key: row.row.key, label: label?.rawValue, updatedAt: row.updatedAt))
                round.labelled[label, default: 0] += 1
            }
            round.skipped += labels.count - (try writer.write(labels))
        }
        cursor = changes.cursor
        return round
    }
}

extension MinuteSummary {
    /// What the rules look at, of a cell.
    init(_ cell: Cell) {
        var errors: [ErrorStage: Int64] = [:]
        for stage in ErrorStage.allCases { errors[stage] = cell.errors(at: stage) }
        var medians: [Metric: Double] = [:]
        for metric in Metric.allCases {
            medians[metric] = cell.quantile(0.5, of: metric).map { $0 / MetricValue.scale }
        }
        self.init(
            total: cell.total, errors: cell.error, errorsByStage: errors, medians: medians)
    }
}

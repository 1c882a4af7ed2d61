package import Telemetry

/// What the rules of ``MinuteRules`` look at: one row of `agg_1m`.
package struct MinuteSummary: Hashable, Sendable {
    package var total: Int64
    package var errors: Int64
    package var errorsByStage: [ErrorStage: Int64]
    /// Medians in the metrics' units; a metric that was not measured is not in it.
    package var medians: [Metric: Double]

    package init(
        total: Int64, errors: Int64, errorsByStage: [ErrorStage: Int64], medians: [Metric: Double]
    ) {
        self.total = total
        self.errors = errors
        self.errorsByStage = errorsByStage
        self.medians = medians
    }
}

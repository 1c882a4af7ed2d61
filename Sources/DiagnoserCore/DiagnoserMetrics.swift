package import CoreMetrics
internal import Diagnosis
internal import Postgres

/// What a diagnoser tells about itself.
package struct DiagnoserMetrics: Sendable {
    private let rowsByLabel: [MinuteLabel: Counter]
    private let rowsWithoutLabel: Counter
    private let rowsSkipped: Counter
    private let rounds: Counter
    private let failures: Counter
    private let roundDuration: Timer
    private let replicaLag: Gauge

    package init(factory: any MetricsFactory) {
        func counter(_ name: String, _ dimensions: [(String, String)] = []) -> Counter {
            Counter(label: "qoe_diagnoser_\(name)", dimensions: dimensions, factory: factory)
        }
        var byLabel: [MinuteLabel: Counter] = [:]
        for label in MinuteLabel.allCases {
            byLabel[label] = counter("rows_labelled_total", [("label", label.rawValue)])
        }
        rowsByLabel = byLabel
        rowsWithoutLabel = counter("rows_labelled_total", [("label", "none")])
        rowsSkipped = counter("rows_skipped_total")
        rounds = counter("rounds_total")
        failures = counter("round_failures_total")
        roundDuration = Timer(label: "qoe_diagnoser_round_duration_seconds", factory: factory)
        replicaLag = Gauge(label: "qoe_diagnoser_replica_lag_seconds", factory: factory)
    }

    func record(_ round: MinuteLabeler.Round, duration: Duration) {
        for (label, count) in round.labelled {
            (label.flatMap { rowsByLabel[$0] } ?? rowsWithoutLabel).increment(by: count)
        }
        rowsSkipped.increment(by: round.skipped)
        rounds.increment()
        let (seconds, attoseconds) = duration.components
        roundDuration.recordNanoseconds(seconds &* 1_000_000_000 &+ attoseconds / 1_000_000_000)
    }

    /// How far what is read is behind; 0 where it is read from the primary.
    func record(_ replica: PostgresReplicaState?) {
        guard let replica else {
            replicaLag.record(0)
            return
        }
        // What has replayed all that it receives is not behind, however long ago that was.
        if replica.isFollowing, replica.hasReplayedAll {
            replicaLag.record(0)
        } else if let seconds = replica.seconds {
            replicaLag.record(seconds)
        }
    }

    func countFailure() {
        failures.increment()
    }
}

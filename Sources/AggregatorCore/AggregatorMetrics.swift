package import CoreMetrics
internal import Windowing

/// What an aggregator tells about itself.
///
/// The counters of events agree with `partition_progress`: they advance when a flush is committed, so
/// `read = counted + duplicate + rejected` holds in every scrape.
package struct AggregatorMetrics: Sendable {
    private let eventsCounted: Counter
    private let eventsDuplicate: Counter
    private let eventsRejected: Counter
    private let eventsLate: Counter
    private let idConflicts: Counter
    private let messages: Counter
    private let messagesDeadLettered: Counter
    private let flushes: Counter
    private let flushDuration: Timer
    private let rowsWritten: Counter
    private let failuresFenced: Counter
    private let failuresUnknown: Counter
    private let failuresUnavailable: Counter
    private let failuresRefused: Counter
    private let logFailures: Counter
    private let heartbeats: Counter
    private let heartbeatsDeadLettered: Counter
    private let trimFailures: Counter
    private let rowsBlocked: Counter
    private let flushesUnbalanced: Counter
    private let logMoves: Counter
    let factory: any MetricsFactory

    package init(factory: any MetricsFactory) {
        self.factory = factory
        func counter(_ name: String, _ dimensions: [(String, String)] = []) -> Counter {
            Counter(label: "qoe_aggregator_\(name)", dimensions: dimensions, factory: factory)
        }
        eventsCounted = counter("events_total", [("outcome", "counted")])
        eventsDuplicate = counter("events_total", [("outcome", "duplicate")])
        eventsRejected = counter("events_total", [("outcome", "rejected")])
        eventsLate = counter("events_late_total")
        idConflicts = counter("id_conflicts_total")
        messages = counter("messages_total")
        messagesDeadLettered = counter("messages_dead_lettered_total")
        flushes = counter("flushes_total")
        flushDuration = Timer(label: "qoe_aggregator_flush_duration_seconds", factory: factory)
        rowsWritten = counter("rows_written_total")
        failuresFenced = counter("failures_total", [("reason", "fenced")])
        failuresUnknown = counter("failures_total", [("reason", "unknown_outcome")])
        failuresUnavailable = counter("failures_total", [("reason", "unavailable")])
        failuresRefused = counter("failures_total", [("reason", "refused")])
        logFailures = counter("log_failures_total")
        heartbeats = counter("heartbeats_total")
        heartbeatsDeadLettered = counter("heartbeats_dead_lettered_total")
        trimFailures = counter("trim_failures_total")
        rowsBlocked = counter("rows_blocked_total")
        flushesUnbalanced = counter("flushes_unbalanced_total")
        logMoves = counter("log_moves_total")
    }

    func count(_ error: TablesError) {
        switch error {
        case .fenced: failuresFenced.increment()
        case .unknownOutcome: failuresUnknown.increment()
        case .unavailable: failuresUnavailable.increment()
        case .refused: failuresRefused.increment()
        }
    }

    func countLogFailure() {
        logFailures.increment()
    }

    func recordHeartbeats(_ count: Int, deadLetters: Int) {
        heartbeats.increment(by: count)
        heartbeatsDeadLettered.increment(by: deadLetters)
    }

    /// Rows that the tables had from a newer message: never, unless something is wrong.
    func countBlockedRows(_ count: Int) {
        rowsBlocked.increment(by: count)
    }

    /// A flush was held back because its counters do not add up: never, unless something is wrong.
    func countUnbalanced() {
        flushesUnbalanced.increment()
    }

    /// A partition's log did not go on where its rows ended.
    func countLogMove() {
        logMoves.increment()
    }

    func countTrimFailure() {
        trimFailures.increment()
    }

    func countPurged(_ messages: UInt64, ofStream stream: String) {
        Counter(
            label: "qoe_aggregator_messages_purged_total", dimensions: [("stream", stream)],
            factory: factory
        ).increment(by: Int64(clamping: messages))
    }

    /// How full a stream is.
    func record(_ extent: LogTrimming.Extent, ofStream stream: String) {
        for (name, value) in [
            ("stream_bytes", Double(extent.byteCount)),
            ("stream_limit_bytes", Double(extent.byteCountMax)),
        ] {
            Gauge(
                label: "qoe_aggregator_\(name)", dimensions: [("stream", stream)],
                factory: factory
            ).record(value)
        }
    }

    /// Adds what a committed flush has added.
    func record(_ batch: FlushBatch, since before: PartitionCounters, duration: Duration) {
        let after = batch.progress.counters
        eventsCounted.increment(by: after.counted &- before.counted)
        eventsDuplicate.increment(by: after.duplicates &- before.duplicates)
        eventsRejected.increment(by: after.rejected &- before.rejected)
        eventsLate.increment(by: after.late &- before.late)
        idConflicts.increment(by: after.idConflicts &- before.idConflicts)
        messages.increment(by: after.messages &- before.messages)
        messagesDeadLettered.increment(by: after.deadLetters &- before.deadLetters)
        flushes.increment()
        let (seconds, attoseconds) = duration.components
        flushDuration.recordNanoseconds(seconds &* 1_000_000_000 &+ attoseconds / 1_000_000_000)
        rowsWritten.increment(by: batch.cells.count + batch.sessions.count)
    }

    /// What a partition holds in memory.
    func record(_ state: PartitionState, of partition: Int, lostRangeCount: Int) {
        gauge("lost_ranges", partition).record(lostRangeCount)
        gauge("cells", partition).record(state.cellCount)
        gauge("sessions", partition).record(state.sessionCount)
        gauge("recent_ids", partition).record(state.recentIDCount)
        gauge("recent_ids_forgotten_early", partition).record(state.idsForgottenEarly)
    }

    /// Partitions that a worker owns.
    func recordOwned(_ count: Int, worker: String) {
        Gauge(
            label: "qoe_aggregator_partitions_owned", dimensions: [("worker", worker)],
            factory: factory
        ).record(count)
    }

    private func gauge(_ name: String, _ partition: Int) -> Gauge {
        Gauge(
            label: "qoe_aggregator_\(name)", dimensions: [("partition", "\(partition)")],
            factory: factory)
    }
}

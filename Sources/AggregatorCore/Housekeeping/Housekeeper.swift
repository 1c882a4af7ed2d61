internal import Bus
internal import Logging
internal import Postgres
internal import ServiceKit
internal import Store

/// Makes hours and days of changed minutes, makes partitions ahead, and removes what is older than its retention.
///
/// Every aggregator runs one; the database lets one at a time work.
///
/// Blocking; used from one owned thread.
final class Housekeeper {
    /// What is kept how long, and how soon rollups follow.
    struct Policy: Sendable {
        /// How long a changed hour waits to be made again.
        var rollupInterval: Duration
        var minutes: Duration
        var hours: Duration
        /// Nil keeps days for ever.
        var days: Duration?
        /// Sessions of probes that are silent, and dead letters that were forwarded.
        var ledgers: Duration
    }

    /// Between two looks at the queue.
    private static let pollInterval = Duration.seconds(2)
    /// Between two looks at partitions and ledgers.
    private static let retentionInterval = Duration.seconds(600)
    private static let retryInterval = Duration.seconds(30)
    /// A day waits for so many times the interval of an hour: each making reads all of its hours.
    private static let dayFactor = 4
    /// After a rollup it rests for so many times what that took, so that rollups never take more than a
    /// fifth of a core from those who write and ask.
    private static let restFactor = 4
    private static let restMax = Duration.seconds(60)
    private static let dueCountMax = 100
    /// Partitions exist for so many days ahead, should nobody be able to make them for a while.
    private static let daysAhead = 7
    /// `PartitionState.isKept` takes events that are a day older than what `ingest` lets in.
    private static let minutesMargin = Duration.seconds(24 * 3600)

    private let database: StoreConnection
    private let policy: Policy
    private let metrics: HousekeepingMetrics
    private let logger: Logger
    private var nextRetention = ContinuousClock.now
    private var nextTry = ContinuousClock.now
    /// The last failure that was logged as a warning, until a round succeeds.
    private var lastFailure: String?
    private var saidThatRemovalTakesRights = false

    init(
        database: StoreConnection, policy: Policy, metrics: HousekeepingMetrics, logger: Logger
    ) {
        self.database = database
        self.policy = policy
        self.metrics = metrics
        self.logger = logger
    }

    /// Works until the end is asked for.
    func run(until stop: StopSignal) {
        while !stop.wait(for: Self.pollInterval) {
            guard ContinuousClock.now >= nextTry else { continue }
            do {
                try makeDueRollups(until: stop)
                try keepRetention(until: stop)
                lastFailure = nil
            } catch {
                guard !stop.wasGiven else { return }
                nextTry = .now + Self.retryInterval
                metrics.countFailure()
                // An outage is told once, not at every try.
                let failure = "\(error)"
                logger.log(
                    level: failure == lastFailure ? .debug : .warning,
                    "cannot keep rollups and retention; goes on when it can",
                    metadata: ["reason": "\(failure)"])
                lastFailure = failure
            }
        }
    }

    // MARK: Rollups

    private func makeDueRollups(until stop: StopSignal) throws(TablesError) {
        let due = try database.perform { store throws(PostgresError) in
            try store.rollups.due(
                hourDelay: policy.rollupInterval,
                dayDelay: policy.rollupInterval * Self.dayFactor, limit: Self.dueCountMax)
        }
        for rollup in due ?? [] {
            guard !stop.wasGiven else { return }
            let start = ContinuousClock.now
            guard try make(rollup) else { break }
            stop.wait(for: min((.now - start) * Self.restFactor, Self.restMax))
        }
        metrics.record(
            try database.perform { store throws(PostgresError) in try store.rollups.backlog() })
    }

    /// Makes one.
    ///
    /// - Returns: false when another instance is at it.
    private func make(_ rollup: Rollup) throws(TablesError) -> Bool {
        let start = ContinuousClock.now
        let outcome = try database.perform { store throws(PostgresError) in
            try store.rollups.make(rollup)
        }
        guard outcome != .busy else { return false }
        metrics.record(outcome, of: rollup.level, duration: .now - start)
        if outcome == .sourceRemoved {
            logger.warning(
                "a minute or hour changed after its retention; the rollup stays as it is",
                metadata: ["rollup": "\(rollup)"])
        }
        return true
    }

    // MARK: Retention

    private func keepRetention(until stop: StopSignal) throws(TablesError) {
        guard ContinuousClock.now >= nextRetention else { return }
        try database.perform { store throws(PostgresError) in
            _ = try store.retention.ensurePartitions(daysAhead: Self.daysAhead)
            try store.retention.alone { () throws(PostgresError) in try retain(store, stop) }
        }
        nextRetention = .now + Self.retentionInterval
    }

    private func retain(_ store: AggregateStore, _ stop: StopSignal) throws(PostgresError) {
        let retention = store.retention
        // By the log's clock: after an outage of ours, what waits in the log still finds its partitions.
        guard let counted = try retention.countedThrough(ofStream: BusStream.events) else { return }
        for table in RetainedTable.allCases {
            guard let kept = kept(table) else { continue }
            let floor = counted.earlier(by: kept)
            for partition in try retention.partitions(of: table, before: floor) {
                guard !stop.wasGiven else { return }
                guard try retire(partition, store) else { break }
            }
        }
        try forgetOldRows(retention, counted)
        guard try retention.hasRetired() else { return }
        guard try retention.becomeOwner() else {
            metrics.recordRemovalNotPermitted(true)
            if !saidThatRemovalTakesRights {
                saidThatRemovalTakesRights = true
                logger.warning(
                    "may not remove old partitions: grant qoe_owner to this login, or run qoectl db retain"
                )
            }
            return
        }
        metrics.recordRemovalNotPermitted(false)
        for name in try retention.removeRetired() {
            metrics.countRemoved()
            logger.notice("removed a partition", metadata: ["partition": "\(name)"])
        }
        try retention.resignAsOwner()
    }

    /// Makes what is still to be made of a partition, and retires it.
    ///
    /// - Returns: false when another instance is making rollups, so that it must wait.
    private func retire(
        _ partition: TimePartition, _ store: AggregateStore
    ) throws(PostgresError) -> Bool {
        for rollup in try store.retention.waitingRollups(of: partition) {
            let start = ContinuousClock.now
            let outcome = try store.rollups.make(rollup)
            guard outcome != .busy else { return false }
            metrics.record(outcome, of: rollup.level, duration: .now - start)
        }
        try store.retention.retire(partition)
        return true
    }

    private func forgetOldRows(
        _ retention: RetentionStore, _ counted: PostgresTimestamp
    ) throws(PostgresError) {
        if let floor = try retention.floor(of: .minutes) {
            while try retention.forgetChanges(before: floor) > 0 {}
        }
        let floor = counted.earlier(by: policy.ledgers)
        while case let count = try retention.forgetSessions(silentSince: floor), count > 0 {
            metrics.countForgotten(count, "probe_sessions")
        }
        while case let count = try retention.forgetDeadLetters(forwardedBefore: floor), count > 0 {
            metrics.countForgotten(count, "dead_letters")
        }
    }

    private func kept(_ table: RetainedTable) -> Duration? {
        switch table {
        case .minutes: policy.minutes + Self.minutesMargin
        case .hours, .dimensionHours: policy.hours
        case .days, .dimensionDays: policy.days
        }
    }
}

extension PostgresTimestamp {
    fileprivate func earlier(by duration: Duration) -> PostgresTimestamp {
        PostgresTimestamp(milliseconds: milliseconds &- duration.components.seconds &* 1000)
    }
}

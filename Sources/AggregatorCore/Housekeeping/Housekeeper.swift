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

    private let database: StoreConnection
    /// How long a changed hour waits to be made again.
    private let rollupInterval: Duration
    private let retention: RetentionPolicy
    private let metrics: HousekeepingMetrics
    private let logger: Logger
    private var nextRetention = ContinuousClock.now
    private var nextTry = ContinuousClock.now
    /// The last failure that was logged as a warning, until a round succeeds.
    private var lastFailure: String?
    private var saidThatRemovalTakesRights = false

    init(
        database: StoreConnection, rollupInterval: Duration, retention: RetentionPolicy,
        metrics: HousekeepingMetrics, logger: Logger
    ) {
        self.database = database
        self.rollupInterval = rollupInterval
        self.retention = retention
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
                hourDelay: rollupInterval, dayDelay: rollupInterval * Self.dayFactor,
                limit: Self.dueCountMax)
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
        let report = try database.perform { store throws(PostgresError) in
            _ = try store.retention.ensurePartitions()
            return try Retention(store, policy: retention, stream: BusStream.events)
                .keep { stop.wasGiven }
        }
        nextRetention =
            .now + (report.isWaitingForRollups ? Self.retryInterval : Self.retentionInterval)
        metrics.record(report)
        for partition in report.removedPartitions {
            logger.notice("removed a partition", metadata: ["partition": "\(partition)"])
        }
        if report.lacksOwnership, !saidThatRemovalTakesRights {
            saidThatRemovalTakesRights = true
            logger.warning(
                "may not remove old partitions: grant qoe_owner to this login, or run qoectl db retain"
            )
        }
    }
}

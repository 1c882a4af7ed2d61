package import Postgres

/// How long what is kept.
package struct RetentionPolicy: Sendable {
    /// Rows of `agg_1m`, and a day longer; whole days are removed.
    package var minutes: Duration
    /// Rows of `agg_1h` and `agg_dim_1h`; whole months are removed.
    package var hours: Duration
    /// Rows of `agg_1d` and `agg_dim_1d`; whole years are removed. Nil keeps them for ever.
    package var days: Duration?
    /// Sessions of probes that are silent, and dead letters that were forwarded.
    package var ledgers: Duration

    package init(minutes: Duration, hours: Duration, days: Duration?, ledgers: Duration) {
        self.minutes = minutes
        self.hours = hours
        self.days = days
        self.ledgers = ledgers
    }

    /// The aggregator counts events that are up to a day older than what `ingest` lets in, for the time
    /// that they wait in the log.
    private static let minutesMargin = Duration.seconds(24 * 3600)

    func kept(_ table: RetainedTable) -> Duration? {
        switch table {
        case .minutes: minutes + Self.minutesMargin
        case .hours, .dimensionHours: hours
        case .days, .dimensionDays: days
        }
    }
}

/// What keeping retention has done.
package struct RetentionReport: Sendable {
    /// Names of the partitions that are gone.
    package var removedPartitions: [String] = []
    /// Rows forgotten, by table.
    package var forgottenRows: [String: Int] = [:]
    /// Partitions are to be removed and this login may not act as `qoe_owner`.
    package var lacksOwnership = false
    /// Partitions wait for rollups that another instance is making.
    package var isWaitingForRollups = false
    /// It is not known how far the log has been counted, so nothing was removed.
    package var isLogUnknown = false
    /// Another instance was at it.
    package var wasBusy = false
}

/// Removes what is older than its retention.
///
/// By the log's clock and not by ours: after an outage, what waits in the log still finds its partitions.
/// Nothing is removed before everything has been made of it; whatever is interrupted goes on the next time.
///
/// Blocking: use it from the connection's owned thread.
package struct Retention {
    private let store: AggregateStore
    private let policy: RetentionPolicy
    private let stream: String

    /// - Parameter stream: The stream of events.
    package init(_ store: AggregateStore, policy: RetentionPolicy, stream: String) {
        self.store = store
        self.policy = policy
        self.stream = stream
    }

    /// The partitions that would be removed now; nil when it is not known how far the log has been counted.
    package func removable() throws(PostgresError) -> [TimePartition]? {
        guard let counted = try countedThrough() else { return nil }
        return try removable(counted)
    }

    private func countedThrough() throws(PostgresError) -> PostgresTimestamp? {
        try store.retention.countedThrough(ofStream: stream)
    }

    private func removable(_ counted: PostgresTimestamp) throws(PostgresError) -> [TimePartition] {
        var partitions: [TimePartition] = []
        for table in RetainedTable.allCases {
            guard let kept = policy.kept(table) else { continue }
            partitions += try store.retention.partitions(
                of: table, before: counted.earlier(by: kept))
        }
        return partitions
    }

    /// Removes it.
    ///
    /// - Parameter shouldStop: Asked between steps.
    package func keep(
        until shouldStop: () -> Bool = { false }
    ) throws(PostgresError) -> RetentionReport {
        var report = RetentionReport()
        report.wasBusy = true
        try store.retention.alone { () throws(PostgresError) in
            report.wasBusy = false
            try keep(until: shouldStop, &report)
        }
        return report
    }

    private func keep(
        until shouldStop: () -> Bool, _ report: inout RetentionReport
    ) throws(PostgresError) {
        let retention = store.retention
        guard let counted = try countedThrough() else {
            report.isLogUnknown = true
            return
        }
        for partition in try removable(counted) where !shouldStop() {
            if try hasNothingToMake(of: partition) {
                try retention.retire(partition)
            } else {
                report.isWaitingForRollups = true
            }
        }
        try forgetRows(counted, until: shouldStop, &report)
        guard !shouldStop(), try retention.hasRetired() else { return }
        guard try retention.becomeOwner() else {
            report.lacksOwnership = true
            return
        }
        do throws(PostgresError) {
            report.removedPartitions = try retention.removeRetired()
        } catch {
            // What else this session does takes no more than a writer's rights.
            try? retention.resignAsOwner()
            throw error
        }
        try retention.resignAsOwner()
    }

    /// Makes what is still to be made of a partition.
    ///
    /// - Returns: false when another instance is making rollups, so that the partition must wait.
    private func hasNothingToMake(of partition: TimePartition) throws(PostgresError) -> Bool {
        for rollup in try store.retention.waitingRollups(of: partition) {
            if try store.rollups.make(rollup) == .busy { return false }
        }
        return true
    }

    private func forgetRows(
        _ counted: PostgresTimestamp, until shouldStop: () -> Bool, _ report: inout RetentionReport
    ) throws(PostgresError) {
        let retention = store.retention
        var kinds: [(table: String, forget: () throws(PostgresError) -> Int)] = []
        if let floor = try retention.floor(of: .minutes) {
            kinds.append(
                (
                    "window_changes",
                    { () throws(PostgresError) in try retention.forgetChanges(before: floor) }
                ))
        }
        let floor = counted.earlier(by: policy.ledgers)
        kinds.append(
            (
                "probe_sessions",
                { () throws(PostgresError) in try retention.forgetSessions(silentSince: floor) }
            ))
        kinds.append(
            (
                "dead_letters",
                { () throws(PostgresError) in
                    try retention.forgetDeadLetters(forwardedBefore: floor)
                }
            ))
        for (table, forget) in kinds {
            while !shouldStop() {
                let count = try forget()
                if count == 0 { break }
                report.forgottenRows[table, default: 0] += count
            }
        }
    }
}

extension PostgresTimestamp {
    fileprivate func earlier(by duration: Duration) -> PostgresTimestamp {
        PostgresTimestamp(milliseconds: milliseconds &- duration.components.seconds &* 1000)
    }
}

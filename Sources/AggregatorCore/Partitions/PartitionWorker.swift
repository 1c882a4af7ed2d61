internal import Failpoints
package import LogDecoding
package import Logging
package import Telemetry
package import Windowing

/// Reads some partitions of the log, counts their events, and writes the changed rows.
///
/// Runs on one thread, by calls of ``turn(until:)``; a partition is never on two workers. Everything that
/// can go wrong ends the same way: the state in memory is dropped, and begun anew from the rows.
package final class PartitionWorker<Log: EventLog, Tables: AggregateTables> {
    /// What a worker needs from outside, so that tests can stand in for clocks and chance.
    package struct Environment: Sendable {
        package var instant: @Sendable () -> ContinuousClock.Instant
        /// The wall clock, Unix milliseconds. Decides nothing but completeness.
        package var unixMilliseconds: @Sendable () -> Int64
        package var makeNonce: @Sendable () -> UniqueID

        package init(
            instant: @escaping @Sendable () -> ContinuousClock.Instant,
            unixMilliseconds: @escaping @Sendable () -> Int64,
            makeNonce: @escaping @Sendable () -> UniqueID
        ) {
            self.instant = instant
            self.unixMilliseconds = unixMilliseconds
            self.makeNonce = makeNonce
        }
    }

    /// How often and how long.
    package struct Timing: Sendable {
        /// The least time between two flushes of a partition.
        package var flushInterval: Duration
        /// A partition spends at most one part in this many of its time on flushing; while messages wait, all
        /// partitions of a worker together do, if their leases allow.
        package var flushShareDivisor: Int
        /// How long the tables may hear nothing of an owner.
        package var lease: Duration
        /// The wait after a failure.
        package var retryInterval: Duration

        package init(
            flushInterval: Duration = .seconds(1), flushShareDivisor: Int = 5,
            lease: Duration = .seconds(10), retryInterval: Duration = .seconds(1)
        ) {
            self.flushInterval = flushInterval
            self.flushShareDivisor = flushShareDivisor
            self.lease = lease
            self.retryInterval = retryInterval
        }
    }

    enum Phase {
        /// Not ours, or dropped after a failure; not to be claimed before the given time.
        case unowned(retryAt: ContinuousClock.Instant)
        case owned(OwnedState)
    }

    let name: String
    let log: Log
    let tables: Tables
    let decoder: MessageDecoder
    let environment: Environment
    let timing: Timing
    let limits: PartitionState.Limits
    let metrics: AggregatorMetrics
    let logger: Logger
    var phases: [Int: Phase] = [:]
    let partitionCount: Int
    /// Nonces given out for a partition, the newest last.
    var nonces: [Int: [UniqueID]] = [:]
    /// The right to write that this process last had to a partition and has not given back: after a failure dropped
    /// its memory, the lease in the tables goes on.
    var leases: [Int: Ownership] = [:]
    /// Partitions that this process has owned.
    var hasOwned: Set<Int> = []
    /// What the last look at the other instances allows to claim.
    var claimable: Set<Int> = []
    /// Since when a partition that others should take has been seen free.
    var freeSince: [Int: ContinuousClock.Instant] = [:]
    var nextShare: ContinuousClock.Instant
    /// The message of a partition that this process announced last before counting it.
    var begunHere: [Int: UInt64] = [:]
    /// The last failure that was logged as a warning, until a partition is owned again.
    var lastFailure: String?
    /// Ascending, so that a run does not depend on the order of a dictionary.
    package let partitions: [Int]

    /// - Parameters:
    ///   - name: Tells this worker from others in metrics.
    ///   - partitions: Those that this worker may own; others of the instance have workers of their own.
    ///   - partitionCount: Of the whole log.
    package init(
        name: String, partitions: [Int], partitionCount: Int, log: Log, tables: Tables,
        decoder: MessageDecoder,
        environment: Environment, timing: Timing = Timing(),
        limits: PartitionState.Limits = PartitionState.Limits(),
        metrics: AggregatorMetrics, logger: Logger
    ) {
        self.name = name
        self.partitions = partitions.sorted()
        self.partitionCount = partitionCount
        self.log = log
        self.tables = tables
        self.decoder = decoder
        self.environment = environment
        self.timing = timing
        self.limits = limits
        self.metrics = metrics
        self.logger = logger
        let now = environment.instant()
        nextShare = now
        for partition in partitions { phases[partition] = .unowned(retryAt: now) }
    }

    /// How many of the worker's partitions it owns.
    package var ownedCount: Int {
        phases.values.count { if case .owned = $0 { true } else { false } }
    }

    /// Acquires what is due, reads what has come, and flushes what is due; waits at most until `deadline`.
    package func turn(until deadline: ContinuousClock.Instant) {
        do throws(TablesError) {
            try shareIfDue()
            try acquireDue()
            try readAndApply(until: min(deadline, nextDue() ?? deadline))
            try flushDue()
        } catch {
            dropAfter(error)
        }
    }

    /// Writes what is left and gives the partitions back.
    package func finish() {
        failpoint(.aggregatorStopping)
        do throws(TablesError) {
            try tables.leave()
            for partition in partitions {
                try goingOnWhenFenced { () throws(TablesError) in try giveBack(partition) }
            }
        } catch {
            dropAfter(error)
        }
    }
}

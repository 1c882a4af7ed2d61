internal import Blocks
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
        /// A partition spends at most one part in this many of its time on flushing.
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

    private enum Phase {
        /// Not ours, or dropped after a failure; to be acquired at the given time.
        case unowned(retryAt: ContinuousClock.Instant)
        case owned(Owned)
    }

    private final class Owned {
        let ownership: Ownership
        var state: PartitionState
        var flushedCounters: PartitionCounters
        var nextFlush: ContinuousClock.Instant
        var leaseRenewedAt: ContinuousClock.Instant

        init(
            _ ownership: Ownership, _ state: PartitionState, nextFlush: ContinuousClock.Instant,
            now: ContinuousClock.Instant
        ) {
            self.ownership = ownership
            self.state = state
            self.nextFlush = nextFlush
            flushedCounters = state.progress.counters
            leaseRenewedAt = now
        }
    }

    private let name: String
    private let log: Log
    private let tables: Tables
    private let decoder: MessageDecoder
    private let environment: Environment
    private let timing: Timing
    private let limits: PartitionState.Limits
    private let metrics: AggregatorMetrics
    private let logger: Logger
    private var phases: [Int: Phase] = [:]
    /// The last failure that was logged as a warning, until a partition is owned again.
    private var lastFailure: String?
    /// Ascending, so that a run does not depend on the order of a dictionary.
    package let partitions: [Int]

    /// - Parameter name: Tells this worker from others in metrics.
    package init(
        name: String, partitions: [Int], log: Log, tables: Tables, decoder: MessageDecoder,
        environment: Environment, timing: Timing = Timing(),
        limits: PartitionState.Limits = PartitionState.Limits(),
        metrics: AggregatorMetrics, logger: Logger
    ) {
        self.name = name
        self.partitions = partitions.sorted()
        self.log = log
        self.tables = tables
        self.decoder = decoder
        self.environment = environment
        self.timing = timing
        self.limits = limits
        self.metrics = metrics
        self.logger = logger
        let now = environment.instant()
        for partition in partitions { phases[partition] = .unowned(retryAt: now) }
    }

    /// How many of the worker's partitions it owns.
    package var ownedCount: Int {
        phases.values.count { if case .owned = $0 { true } else { false } }
    }

    /// Acquires what is due, reads what has come, and flushes what is due; waits at most until `deadline`.
    package func turn(until deadline: ContinuousClock.Instant) {
        do throws(TablesError) {
            try acquireDue()
            try readAndApply(until: min(deadline, nextDue() ?? deadline))
            try flushDue()
        } catch {
            dropAfter(error)
        }
    }

    /// Writes what is left and gives the partitions back.
    package func finish() {
        for partition in partitions {
            guard case .owned(let owned) = phases[partition] else { continue }
            do throws(TablesError) {
                try flush(owned)
                try tables.release(owned.ownership)
                drop(partition)
            } catch {
                dropAfter(error)
            }
        }
    }

    // MARK: Owning

    private func acquireDue() throws(TablesError) {
        let now = environment.instant()
        for partition in partitions {
            guard case .unowned(let retryAt) = phases[partition], retryAt <= now else { continue }
            phases[partition] = .unowned(retryAt: now + timing.retryInterval)
            let acquisition = try tables.acquire(
                partition: partition, nonce: environment.makeNonce())
            switch acquisition {
            case .heldByOther(let owner):
                logger.debug(
                    "another instance holds a partition",
                    metadata: ["partition": "\(partition)", "owner": "\(owner)"])
            case .owned(let ownership, let progress):
                begin(partition, ownership, progress, now)
            }
        }
    }

    private func begin(
        _ partition: Int, _ ownership: Ownership, _ progress: PartitionProgress,
        _ now: ContinuousClock.Instant
    ) {
        let first = min(progress.replayFromSequence, progress.committedSequence &+ 1)
        do throws(EventLogError) {
            try log.open(partition: partition, from: max(1, first))
        } catch {
            logger.warning(
                "cannot read a partition yet",
                metadata: ["partition": "\(partition)", "reason": "\(error)"])
            return
        }
        let state = PartitionState(partition: partition, progress: progress, limits: limits)
        phases[partition] = .owned(
            Owned(ownership, state, nextFlush: now + timing.flushInterval, now: now))
        metrics.recordOwned(ownedCount, worker: name)
        lastFailure = nil
        logger.info(
            "owns a partition",
            metadata: [
                "partition": "\(partition)", "epoch": "\(ownership.epoch)",
                "committed_seq": "\(progress.committedSequence)", "read_from": "\(first)",
            ])
    }

    /// Forgets a partition; it is acquired again when its time has come.
    private func drop(_ partition: Int) {
        if case .owned = phases[partition] {
            log.close(partition: partition)
        }
        phases[partition] = .unowned(retryAt: environment.instant() + timing.retryInterval)
        metrics.recordOwned(ownedCount, worker: name)
    }

    private func dropAfter(_ error: TablesError) {
        metrics.count(error)
        let reason = "\(error)"
        // An outage is told once, not at every try.
        logger.log(
            level: reason == lastFailure ? .debug : .warning, "drops its state and begins anew",
            metadata: ["reason": "\(reason)"])
        lastFailure = reason
        if case .fenced(let partition) = error {
            drop(partition)
        } else {
            // The connection serves all partitions of this worker.
            for partition in partitions { drop(partition) }
        }
    }

    // MARK: Reading

    private func readAndApply(until deadline: ContinuousClock.Instant) throws(TablesError) {
        let messages: [LogMessage]
        do throws(EventLogError) {
            messages = try log.read(until: deadline)
        } catch {
            metrics.countLogFailure()
            logger.warning("cannot read the log", metadata: ["reason": "\(error)"])
            for partition in partitions { drop(partition) }
            return
        }
        var byPartition: [Int: [LogMessage]] = [:]
        for message in messages { byPartition[message.partition, default: []].append(message) }
        for partition in partitions {
            guard let messages = byPartition[partition],
                case .owned(let owned) = phases[partition]
            else { continue }
            var chunk: [DecodedMessage] = []
            var eventCount = 0
            for message in messages {
                guard let decoded = take(message, for: owned) else { continue }
                chunk.append(decoded)
                eventCount += decoded.eventCount
                if eventCount >= chunkEventCountMax {
                    try apply(chunk, to: owned)
                    chunk.removeAll()
                    eventCount = 0
                }
            }
            try apply(chunk, to: owned)
        }
    }

    /// Decodes a message that is to be counted; remembers the identifiers of one that is counted already.
    private func take(_ message: LogMessage, for owned: Owned) -> DecodedMessage? {
        guard message.position.sequence > owned.state.progress.committedSequence else {
            if case .events(let block, _) = decoder.decode(message).content {
                block.withReader { owned.state.remember($0, at: message.position) }
            }
            return nil
        }
        return decoder.decode(message)
    }

    private func apply(_ messages: [DecodedMessage], to owned: Owned) throws(TablesError) {
        guard !messages.isEmpty else { return }
        let resolutions = messages.map { message -> PartitionState.Resolution? in
            guard case .events(let block, _) = message.content else { return nil }
            return block.withReader { owned.state.resolve($0, at: message.position) }
        }
        let wanted = owned.state.pendingLoads
        if !wanted.cells.isEmpty || !wanted.sessions.isEmpty {
            let found = try tables.load(cells: wanted.cells, sessions: wanted.sessions)
            owned.state.install(cells: found.cells, sessions: found.sessions)
        }
        for (message, resolution) in zip(messages, resolutions) {
            switch message.content {
            case .events(let block, let rejected):
                guard let resolution else { continue }
                block.withReader { owned.state.apply($0, resolution, at: message.position) }
                for event in rejected {
                    owned.state.reject(
                        index: event.index, reason: event.reason, detail: event.detail,
                        at: message.position)
                }
            case .unreadable(let reason, let detail):
                logger.warning(
                    "sets a message aside",
                    metadata: [
                        "partition": "\(message.partition)",
                        "seq": "\(message.position.sequence)", "reason": "\(reason)",
                    ])
                message.payload.withUnsafeBytes { payload in
                    owned.state.setAside(
                        reason: reason, detail: detail, payload: payload, at: message.position)
                }
            }
        }
        if owned.state.mustFlush { try flush(owned) }
    }

    // MARK: Writing

    private func nextDue() -> ContinuousClock.Instant? {
        phases.values.compactMap { phase in
            switch phase {
            case .owned(let owned): owned.nextFlush
            case .unowned(let retryAt): retryAt
            }
        }.min()
    }

    private func flushDue() throws(TablesError) {
        let now = environment.instant()
        for partition in partitions {
            guard case .owned(let owned) = phases[partition], owned.nextFlush <= now else {
                continue
            }
            try flush(owned)
        }
    }

    private func flush(_ owned: Owned) throws(TablesError) {
        let start = environment.instant()
        let partition = owned.ownership.partition
        let isCaughtUp = log.isCaughtUp(partition: partition)
        let caughtUpAt = isCaughtUp ? environment.unixMilliseconds() : nil
        if let batch = owned.state.makeFlush(caughtUpAtMilliseconds: caughtUpAt) {
            precondition(batch.progress.counters.isConserved, "every event read is accounted for")
            let before = owned.flushedCounters
            try tables.flush(batch, under: owned.ownership)
            owned.state.confirm(batch)
            owned.flushedCounters = batch.progress.counters
            owned.leaseRenewedAt = start
            metrics.record(batch, since: before, duration: environment.instant() - start)
        } else if start - owned.leaseRenewedAt > timing.lease / 3 {
            try tables.renew(owned.ownership)
            owned.leaseRenewedAt = start
        }
        metrics.record(owned.state, of: partition)
        let end = environment.instant()
        owned.nextFlush = end + max(timing.flushInterval, (end - start) * timing.flushShareDivisor)
    }
}

/// Events that are loaded and counted together: one round trip finds the rows of all of them.
private let chunkEventCountMax = 10_000

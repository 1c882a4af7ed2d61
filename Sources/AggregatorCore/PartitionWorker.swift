internal import Blocks
internal import Failpoints
package import LogDecoding
package import Logging
internal import Store
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

    private enum Phase {
        /// Not ours, or dropped after a failure; not to be claimed before the given time.
        case unowned(retryAt: ContinuousClock.Instant)
        case owned(OwnedState)
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
    private let partitionCount: Int
    /// Nonces given out for a partition, the newest last.
    private var nonces: [Int: [UniqueID]] = [:]
    /// Partitions that this process has owned.
    private var hasOwned: Set<Int> = []
    /// What the last look at the other instances allows to claim.
    private var claimable: Set<Int> = []
    /// Since when a partition that others should take has been seen free.
    private var freeSince: [Int: ContinuousClock.Instant] = [:]
    private var nextShare: ContinuousClock.Instant
    /// The last failure that was logged as a warning, until a partition is owned again.
    private var lastFailure: String?
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
                guard case .owned(let owned) = phases[partition] else { continue }
                try goingOnWhenFenced { () throws(TablesError) in try handOver(owned) }
            }
        } catch {
            dropAfter(error)
        }
    }

    // MARK: Sharing

    /// Looks at the other instances, and gives up what is theirs.
    private func shareIfDue() throws(TablesError) {
        let now = environment.instant()
        guard nextShare <= now else { return }
        nextShare = now + timing.retryInterval
        let extent: LogExtent
        do throws(EventLogError) {
            // Who cannot read must not be counted on.
            extent = try log.extent()
        } catch {
            report(error)
            return
        }
        // What is removed before it was read is found when the partition is begun anew.
        for partition in partitions {
            guard case .owned(let owned) = phases[partition] else { continue }
            let next = owned.state.progress.committedSequence &+ 1
            if extent.firstSequence > max(next, owned.firstSequence) { try abandon(partition) }
        }
        let view = try tables.share()
        nextShare = now + timing.lease / 3
        let plan = SharingPlan(view, partitionCount: partitionCount)
        freeSince = freeSince.filter { plan.others.contains($0.key) }
        for partition in plan.others where freeSince[partition] == nil {
            freeSince[partition] = now
        }
        // What nobody takes is taken by anybody.
        let left = freeSince.filter { now - $0.value > timing.lease * 2 }.keys
        claimable = plan.wanted.union(left)
        for partition in partitions where plan.surplus.contains(partition) {
            if case .owned(let owned) = phases[partition] { try handOver(owned) }
        }
    }

    /// Writes what is left of a partition and gives it back.
    private func handOver(_ owned: OwnedState) throws(TablesError) {
        let partition = owned.ownership.partition
        try flush(owned)
        // The flush may have found that there is nothing to give back.
        guard case .owned(let current) = phases[partition], current === owned else { return }
        failpoint(.aggregatorBeforeRelease)
        try tables.release(owned.ownership)
        failpoint(.aggregatorReleased)
        logger.info("hands a partition over", metadata: ["partition": "\(partition)"])
        claimable.remove(partition)
        drop(partition)
    }

    // MARK: Owning

    private func acquireDue() throws(TablesError) {
        for partition in partitions where claimable.contains(partition) {
            let now = environment.instant()
            guard case .unowned(let retryAt) = phases[partition], retryAt <= now else { continue }
            phases[partition] = .unowned(retryAt: now + timing.retryInterval)
            let nonce = environment.makeNonce()
            let claim = Claim(
                partition: partition, nonce: nonce, formerNonces: nonces[partition] ?? [],
                takesOwnLease: !hasOwned.contains(partition))
            nonces[partition] = (claim.formerNonces + [nonce]).suffix(formerNonceCountMax)
            failpoint(.aggregatorBeforeAcquire)
            switch try tables.acquire(claim) {
            case .heldByOther(let owner):
                logger.debug(
                    "another instance holds a partition",
                    metadata: ["partition": "\(partition)", "owner": "\(owner)"])
            case .owned(let ownership, let standing):
                failpoint(.aggregatorAcquired)
                hasOwned.insert(partition)
                do throws(BeginError) {
                    try begin(ownership, standing, now)
                } catch {
                    switch error {
                    case .log(let error): report(error)
                    case .tables(let error): throw error
                    }
                }
            }
        }
    }

    private enum BeginError: Error {
        case log(EventLogError)
        case tables(TablesError)
    }

    /// Finds where the log goes on, and begins to read there.
    private func begin(
        _ acquired: Ownership, _ found: PartitionStanding, _ now: ContinuousClock.Instant
    ) throws(BeginError) {
        let partition = acquired.partition
        var ownership = acquired
        var standing = found
        let (extent, check) = try checkLog(standing)
        failpoint(.aggregatorLogChecked)
        if case .moved(let move) = check {
            failpoint(.aggregatorBeforeReposition)
            do throws(TablesError) {
                ownership = try tables.reposition(move, under: ownership)
            } catch {
                throw .tables(error)
            }
            failpoint(.aggregatorRepositioned)
            standing.apply(move)
            tell(move, of: partition)
        }
        let progress = standing.progress
        let first = max(1, min(progress.replayFromSequence, progress.committedSequence &+ 1))
        do throws(EventLogError) {
            try log.open(partition: partition, from: first)
        } catch {
            throw .log(error)
        }
        failpoint(.aggregatorLogOpened)
        let state = PartitionState(
            partition: partition, progress: progress, newestWindow: standing.newestWindow,
            limits: limits)
        phases[partition] = .owned(
            OwnedState(
                ownership, standing, state, extent,
                nextFlush: now + timing.flushInterval, now: now))
        metrics.recordOwned(ownedCount, worker: name)
        lastFailure = nil
        logger.info(
            "owns a partition",
            metadata: [
                "partition": "\(partition)", "epoch": "\(ownership.epoch)",
                "generation": "\(ownership.generation)",
                "committed_seq": "\(progress.committedSequence)", "read_from": "\(first)",
            ])
    }

    private func checkLog(
        _ standing: PartitionStanding
    ) throws(BeginError) -> (LogExtent, LogCheck) {
        do throws(EventLogError) {
            let extent = try log.extent()
            return (extent, try LogCheck.check(standing, extent, log))
        } catch {
            throw .log(error)
        }
    }

    private func tell(_ move: Reposition, of partition: Int) {
        metrics.countLogMove()
        for lost in move.lost {
            logger.error(
                "messages of the log are gone",
                metadata: [
                    "partition": "\(partition)", "first_seq": "\(lost.sequences.lowerBound)",
                    "last_seq": "\(lost.sequences.upperBound)", "reason": "\(lost.reason)",
                ])
        }
        logger.warning(
            "the log does not go on where the tables end",
            metadata: [
                "partition": "\(partition)", "committed_seq": "\(move.expectedSequence)",
                "continues_after": "\(move.committedSequence)",
            ])
    }

    /// Forgets a partition; it is claimed again when its time has come.
    private func drop(_ partition: Int) {
        if case .owned = phases[partition] {
            log.close(partition: partition)
            failpoint(.aggregatorDropped)
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
            failpoint(.aggregatorFenced)
            drop(partition)
        } else {
            // The connection serves all partitions of this worker.
            for partition in partitions { drop(partition) }
        }
    }

    private func report(_ error: EventLogError) {
        metrics.countLogFailure()
        let reason = "\(error)"
        logger.log(
            level: reason == lastFailure ? .debug : .warning, "cannot read the log",
            metadata: ["reason": "\(reason)"])
        lastFailure = reason
    }

    // MARK: Reading

    private func readAndApply(until deadline: ContinuousClock.Instant) throws(TablesError) {
        let messages: [LogMessage]
        do throws(EventLogError) {
            messages = try log.read(until: deadline)
        } catch {
            report(error)
            // What was read is counted, even if the log has lost it since.
            for partition in partitions {
                try goingOnWhenFenced { () throws(TablesError) in try abandon(partition) }
            }
            return
        }
        var byPartition: [Int: [LogMessage]] = [:]
        for message in messages { byPartition[message.partition, default: []].append(message) }
        for partition in partitions {
            guard case .owned(let owned) = phases[partition] else { continue }
            let messages = byPartition[partition] ?? []
            try goingOnWhenFenced { () throws(TablesError) in
                if try isSameLog(owned, messages.last) { try count(messages, owned) }
            }
        }
    }

    /// A fence is about one partition: what was read of the others is still to be counted, since the log
    /// gives it only once.
    private func goingOnWhenFenced(
        _ body: () throws(TablesError) -> Void
    ) throws(TablesError) {
        do throws(TablesError) {
            try body()
        } catch {
            guard case .fenced = error else { throw error }
            dropAfter(error)
        }
    }

    /// Writes what is in memory of a partition, and forgets it.
    private func abandon(_ partition: Int) throws(TablesError) {
        guard case .owned(let owned) = phases[partition] else { return }
        try flush(owned)
        drop(partition)
    }

    /// Whether the log is still the one that was read before; if not, the partition is begun anew.
    private func isSameLog(
        _ owned: OwnedState, _ newest: LogMessage?
    ) throws(TablesError) -> Bool {
        let partition = owned.ownership.partition
        let reading = log.readingCount(of: partition)
        guard reading != owned.verifiedReading else { return true }
        let known = [owned.newestAnchor, newest.map(LogAnchor.init)].compactMap { $0 }
        do throws(EventLogError) {
            let extent = try log.extent()
            let needed = max(
                owned.state.progress.committedSequence &+ 1, owned.firstSequence)
            guard extent.firstSequence <= needed else {
                throw EventLogError(
                    "messages of partition \(partition) from \(needed) on may have been removed unread"
                )
            }
            let isSameStream = extent.createdNanoseconds == owned.logCreatedNanoseconds
            for anchor in known {
                if isSameStream, anchor.sequence < extent.firstSequence { continue }
                guard try log.anchor(at: anchor.sequence) == anchor else {
                    throw EventLogError(
                        "message \(anchor.sequence) of partition \(partition) is another one than before"
                    )
                }
            }
        } catch {
            report(error)
            try abandon(partition)
            return false
        }
        owned.verifiedReading = reading
        return true
    }

    /// Counts messages, in chunks for which the rows are loaded together.
    private func count(_ messages: [LogMessage], _ owned: OwnedState) throws(TablesError) {
        var chunk: [DecodedMessage] = []
        var eventCount = 0
        for message in messages {
            guard message.position.sequence > owned.state.progress.committedSequence else {
                remember(message, owned)
                continue
            }
            if owned.cautiousMessageCount > 0 {
                try countCautiously(message, owned)
                guard isOwned(owned) else { return }
                continue
            }
            failpoint(.aggregatorReplayed)
            let decoded = decoder.decode(message)
            chunk.append(decoded)
            eventCount += decoded.eventCount
            if eventCount >= chunkEventCountMax {
                try apply(chunk, to: owned)
                guard isOwned(owned) else { return }
                chunk.removeAll()
                eventCount = 0
            }
        }
        try apply(chunk, to: owned)
    }

    private func isOwned(_ owned: OwnedState) -> Bool {
        if case .owned(let current) = phases[owned.ownership.partition] {
            return current === owned
        }
        return false
    }

    /// Remembers the identifiers of a message that is counted already.
    private func remember(_ message: LogMessage, _ owned: OwnedState) {
        failpoint(.aggregatorReplaying)
        // What killed its readers would kill this one too, and none of its events was counted.
        guard !owned.crashingSequences.contains(message.position.sequence) else { return }
        if case .events(let block, _) = decoder.decode(message).content {
            block.withReader { owned.state.remember($0, at: message.position) }
        }
    }

    /// Counts one message in a transaction of its own, after the ledger has it: if it kills the process, the next
    /// owner knows which one it was.
    private func countCautiously(
        _ message: LogMessage, _ owned: OwnedState
    ) throws(TablesError) {
        let begun = try tables.beginMessage(message.position.sequence, under: owned.ownership)
        owned.hasCrashes = true
        if begun > CrashCaution.beginCountMax {
            setAside(
                DecodedMessage(
                    message,
                    .unreadable(
                        reason: DeadLetter.crashesItsReader,
                        detail: "counting it began \(begun - 1) times and never ended")), owned)
        } else {
            try apply([decoder.decode(message)], to: owned)
        }
        guard isOwned(owned) else { return }
        owned.cautiousMessageCount -= 1
        try flush(owned)
    }

    private func apply(
        _ messages: [DecodedMessage], to owned: OwnedState
    ) throws(TablesError) {
        guard !messages.isEmpty else { return }
        let resolutions = messages.map { message -> PartitionState.Resolution? in
            guard case .events(let block, _) = message.content else { return nil }
            return block.withReader { owned.state.resolve($0, at: message.position) }
        }
        let wanted = owned.state.pendingLoads
        if !wanted.cells.isEmpty || !wanted.sessions.isEmpty {
            let found = try tables.load(cells: wanted.cells, sessions: wanted.sessions)
            owned.state.install(cells: found.cells, sessions: found.sessions)
            failpoint(.aggregatorRowsLoaded)
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
                failpoint(.aggregatorApplied, sequence: message.position.sequence)
            case .unreadable:
                setAside(message, owned)
            }
            owned.didApply(message.source)
        }
        if owned.state.mustFlush { try flush(owned) }
    }

    private func setAside(_ message: DecodedMessage, _ owned: OwnedState) {
        guard case .unreadable(let reason, let detail) = message.content else { return }
        let position = message.position
        logger.warning(
            "sets a message aside",
            metadata: [
                "partition": "\(owned.ownership.partition)", "seq": "\(position.sequence)",
                "reason": "\(reason)",
            ])
        message.source.payload.withUnsafeBytes { payload in
            owned.state.setAside(
                reason: reason, detail: detail, payload: payload, at: position)
        }
        owned.didApply(message.source)
        failpoint(.aggregatorSetAside)
    }

    // MARK: Writing

    private func nextDue() -> ContinuousClock.Instant? {
        let due = phases.compactMap { partition, phase in
            switch phase {
            case .owned(let owned): owned.nextFlush
            case .unowned(let retryAt): claimable.contains(partition) ? retryAt : nil
            }
        }
        return (due + [nextShare]).min()
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

    private func flush(_ owned: OwnedState) throws(TablesError) {
        let start = environment.instant()
        let partition = owned.ownership.partition
        let isCaughtUp = log.isCaughtUp(partition: partition)
        let caughtUpAt = isCaughtUp ? environment.unixMilliseconds() : nil
        if var batch = owned.state.makeFlush(caughtUpAtMilliseconds: caughtUpAt) {
            guard batch.progress.counters.isConserved else {
                // Our own bug: what is in memory is not to be written.
                metrics.countUnbalanced()
                logger.critical(
                    "events read and events accounted for differ: drops the partition's state",
                    metadata: ["partition": "\(partition)"])
                return drop(partition)
            }
            owned.complete(&batch)
            failpoint(.aggregatorFlushMade)
            let before = owned.flushedCounters
            try tables.flush(batch, under: owned.ownership)
            failpoint(.aggregatorFlushCommitted)
            owned.didFlush(batch, at: start)
            failpoint(.aggregatorFlushConfirmed)
            metrics.record(batch, since: before, duration: environment.instant() - start)
        } else if start - owned.leaseRenewedAt > timing.lease / 3 {
            try tables.renew(owned.ownership)
            failpoint(.aggregatorRenewed)
            owned.leaseRenewedAt = start
        }
        metrics.record(owned.state, of: partition, lostRangeCount: owned.lostRangeCount)
        let end = environment.instant()
        owned.nextFlush = end + pause(after: end - start, isCaughtUp: isCaughtUp)
    }

    /// How long to wait until a partition is flushed again.
    ///
    /// Behind the log's end rows are late anyway, and each is written less often the longer it is gathered. The
    /// partitions of a worker are flushed one after the other, so their number counts.
    private func pause(after duration: Duration, isCaughtUp: Bool) -> Duration {
        let share = duration * timing.flushShareDivisor
        if isCaughtUp { return max(timing.flushInterval, share) }
        // A flush renews the lease as well.
        return max(timing.flushInterval, share, min(share * ownedCount, timing.lease / 3))
    }
}

/// Events that are loaded and counted together: one round trip finds the rows of all of them.
private let chunkEventCountMax = 10_000

/// Tries to claim a partition whose answers may still be unknown.
private let formerNonceCountMax = 8

internal import Failpoints
internal import Logging
internal import Store
internal import Telemetry
internal import Windowing

/// Which partitions are this worker's: sharing them with other instances, taking them over, giving them up.
extension PartitionWorker {
    /// Looks at the other instances, and gives up what is theirs.
    func shareIfDue() throws(TablesError) {
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
            try giveBack(partition)
        }
    }

    /// Lets others have a partition at once, whether it is in memory or was dropped.
    func giveBack(_ partition: Int) throws(TablesError) {
        if case .owned(let owned) = phases[partition] {
            try handOver(owned)
        } else if let lease = leases[partition] {
            // Refused by the fence if somebody else has it by now.
            try tables.release(lease)
            leases[partition] = nil
            claimable.remove(partition)
        }
    }

    /// Writes what is left of a partition and gives it back.
    func handOver(_ owned: OwnedState) throws(TablesError) {
        let partition = owned.ownership.partition
        try flush(owned)
        // The flush may have found that there is nothing to give back.
        guard case .owned(let current) = phases[partition], current === owned else { return }
        failpoint(.aggregatorBeforeRelease)
        try tables.release(owned.ownership)
        failpoint(.aggregatorReleased)
        leases[partition] = nil
        logger.info("hands a partition over", metadata: ["partition": "\(partition)"])
        claimable.remove(partition)
        drop(partition)
    }

    func acquireDue() throws(TablesError) {
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

    enum BeginError: Error {
        case log(EventLogError)
        case tables(TablesError)
    }

    /// Finds where the log goes on, and begins to read there.
    func begin(
        _ acquired: Ownership, _ found: PartitionStanding, _ now: ContinuousClock.Instant
    ) throws(BeginError) {
        let partition = acquired.partition
        var ownership = acquired
        leases[partition] = acquired
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
            leases[partition] = ownership
            failpoint(.aggregatorRepositioned)
            begunHere[partition] = nil
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

    func checkLog(
        _ standing: PartitionStanding
    ) throws(BeginError) -> (LogExtent, LogCheck) {
        do throws(EventLogError) {
            let extent = try log.extent()
            return (extent, try LogCheck.check(standing, extent, log))
        } catch {
            throw .log(error)
        }
    }

    func tell(_ move: Reposition, of partition: Int) {
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
    func drop(_ partition: Int) {
        if case .owned = phases[partition] {
            log.close(partition: partition)
            failpoint(.aggregatorDropped)
        }
        phases[partition] = .unowned(retryAt: environment.instant() + timing.retryInterval)
        metrics.recordOwned(ownedCount, worker: name)
    }

    func dropAfter(_ error: TablesError) {
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

    func report(_ error: EventLogError) {
        metrics.countLogFailure()
        let reason = "\(error)"
        logger.log(
            level: reason == lastFailure ? .debug : .warning, "cannot read the log",
            metadata: ["reason": "\(reason)"])
        lastFailure = reason
    }
}

/// Tries to claim a partition whose answers may still be unknown.
private let formerNonceCountMax = 8

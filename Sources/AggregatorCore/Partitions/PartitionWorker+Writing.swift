internal import Failpoints
internal import Logging
internal import Windowing

/// From memory into the tables.
extension PartitionWorker {
    func nextDue() -> ContinuousClock.Instant? {
        let due = phases.compactMap { partition, phase in
            switch phase {
            case .owned(let owned): owned.nextFlush
            case .unowned(let retryAt): claimable.contains(partition) ? retryAt : nil
            }
        }
        return (due + [nextShare]).min()
    }

    func flushDue() throws(TablesError) {
        let now = environment.instant()
        for partition in partitions {
            guard case .owned(let owned) = phases[partition], owned.nextFlush <= now else {
                continue
            }
            try flush(owned)
        }
    }

    /// Renews the leases that a long turn would let run out.
    func renewDue() throws(TablesError) {
        let now = environment.instant()
        for partition in partitions {
            guard case .owned(let owned) = phases[partition],
                now - owned.leaseRenewedAt > timing.lease / 2
            else { continue }
            try goingOnWhenFenced { () throws(TablesError) in
                try tables.renew(
                    owned.ownership, committedSequence: owned.flushedSequence)
                owned.leaseRenewedAt = now
            }
        }
    }

    func flush(_ owned: OwnedState) throws(TablesError) {
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
            try tables.renew(owned.ownership, committedSequence: owned.flushedSequence)
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
    ///
    /// A flush renews the lease as well, so it comes thrice in a lease however long the last one took.
    func pause(after duration: Duration, isCaughtUp: Bool) -> Duration {
        let share = duration * (timing.flushShareDivisor * (isCaughtUp ? 1 : max(1, ownedCount)))
        return min(max(timing.flushInterval, share), timing.lease / 3)
    }
}

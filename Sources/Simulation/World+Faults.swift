internal import AggregatorCore
internal import Store
internal import Windowing

/// What strikes the broker and the database.
extension World {
    /// Clients that do not number send nothing again whose copy is gone: nobody could tell it from a new event.
    private func forget(_ gone: some Sequence<StoredMessage>) {
        for message in gone {
            for copy in message.draft.copies where !events[copy.event].isNumbered {
                events[copy.event].isAbandoned = true
            }
        }
    }

    private func didCut(_ gone: [StoredMessage]) {
        coverage.messagesLostByBroker += gone.count
        forget(gone)
        // A restart takes longer than the resolution of the broker's clock.
        time.milliseconds += pick(2...2000)
        // Its rows remember no message, and a place that the stream may reach again.
        for row in database.rows.partitions
        where row.anchors.isEmpty && row.progress.committedSequence > broker.lastSequence {
            isBeyondPromise = true
        }
        // A dead letter names a sequence, which another message gets now: it is not read for its identifiers.
        if database.rows.letters.contains(where: { key, reason in
            key.sequence > broker.lastSequence && reason == DeadLetter.crashesItsReader
        }) {
            losesIdentifiers = true
        }
        noteUndetectable()
        guard chance(50) else { return }
        // Grows beyond its old end before anybody looks.
        for _ in 0..<gone.count + 4 {
            post()
            publishSomething()
        }
        coverage.sequencesReused += 1
    }

    func failPower() {
        let gone = broker.loseTail()
        note("the broker loses power and \(gone.count) messages after \(broker.lastSequence)")
        coverage.powerFailures += 1
        broker.isDown = chance(30)
        didCut(gone)
    }

    func restoreStream() {
        let firstBefore = broker.firstSequence
        guard let gone = broker.restore(random.next()) else { return }
        for message in broker.readable.prefix(while: { $0.sequence < firstBefore })
        where !oracle.processed.contains(message.number) {
            // Removed unread, reported as lost, and there again: by its time it may have been counted.
            losesIdentifiers = true
            broughtBack.insert(message.number)
        }
        note("the stream is restored to \(broker.firstSequence)...\(broker.lastSequence)")
        coverage.restores += 1
        didCut(gone)
    }

    func recreateStream() {
        note("the stream is made anew")
        coverage.recreations += 1
        time.milliseconds += 5
        didCut(broker.recreate(at: time.milliseconds * 1_000_000))
    }

    /// Somebody removes more than may go.
    func purgeTooMuch() {
        guard broker.lastSequence > broker.firstSequence else { return }
        let below = pick(broker.firstSequence...broker.lastSequence)
        guard remove(below: below, endsReading: true) else { return }
        note("somebody purges what is below \(below)")
        coverage.purges += 1
    }

    /// As the trimmer of the aggregators does.
    func trim() {
        guard !broker.isDown, !database.isDown else { return }
        let extent = LogTrimming.Extent(
            firstSequence: broker.firstSequence, lastSequence: broker.lastSequence,
            byteCount: 100, byteCountMax: 100)
        let horizon = RecentIDs.horizonMilliseconds
        var positions: [LogPosition] = []
        var newest: [Int: UInt64] = [:]
        for (partition, row) in database.rows.partitions.enumerated() {
            let committedAt = row.progress.committedBrokerMilliseconds
            positions.append(
                LogPosition(
                    partition: partition, committedSequence: row.progress.committedSequence,
                    replayFromSequence: row.progress.replayFromSequence,
                    isSettled: committedAt.map {
                        $0 < databaseClock.wallMilliseconds - horizon
                    } ?? true, anchor: row.anchors.first))
            newest[partition] = broker.readable.last { $0.draft.partition == partition }?.sequence
        }
        for case let anchor? in positions.map(\.anchor)
        where anchor.sequence >= broker.firstSequence {
            guard broker.message(at: anchor.sequence)?.anchor == anchor else { return }
        }
        let recorded = database.rows.trim.flatMap { trim in
            trim.createdNanoseconds == broker.createdNanoseconds ? trim.below : nil
        }
        guard
            let below = LogTrimming.purgeBelow(
                extent, trimmedBelow: recorded ?? 0, partitionCount: partitionCount,
                positions: positions, newest: newest)
        else { return }
        let created = broker.createdNanoseconds
        let storedCount = broker.storedCount
        database.commit { rows in
            if let trim = rows.trim, trim.createdNanoseconds == created, trim.below >= below {
                return
            }
            rows.trim = (created, below, storedCount)
        }
        // The trimmer may die between the two.
        guard chance(90), remove(below: below, endsReading: false) else { return }
        note("the stream is trimmed below \(below)")
        coverage.trims += 1
    }

    /// Removes messages, unless another copy of an event that has no number would then look new.
    private func remove(below: UInt64, endsReading: Bool) -> Bool {
        let gone = broker.readable.prefix { $0.sequence < below }
        let rest = broker.readable.dropFirst(gone.count)
        var removed: Set<Int> = []
        for message in gone {
            for copy in message.draft.copies where !events[copy.event].isNumbered {
                removed.insert(copy.event)
            }
        }
        let isApart = rest.allSatisfy { message in
            message.draft.copies.allSatisfy { !removed.contains($0.event) }
        }
        guard isApart else { return false }
        forget(gone)
        if endsReading {
            noteTakenForTrimmed(gone)
            broker.endConnections()
        }
        broker.purge(below: below)
        noteUndetectable()
        return true
    }

    func failOver() {
        let lost = chance(30) ? 0 : Int(pick(0...UInt64(database.lag)))
        note("the database fails over and loses \(lost) commits")
        coverage.failovers += 1
        coverage.commitsLost += lost
        database.failOver(losing: lost)
        let kept = database.rows.commitCount
        if kept < commits.count {
            commits.removeSubrange(kept...)
            oracle = Oracle(partitionCount: partitionCount)
            for commit in commits { oracle.apply(commit, events) }
        }
        noteUndetectable()
    }

    /// Removed by hand, and taken for trimmed: they were stored, after a cut, under sequences that had been trimmed
    /// before it.
    private func noteTakenForTrimmed(_ gone: some Sequence<StoredMessage>) {
        guard let trim = database.rows.trim, trim.createdNanoseconds == broker.createdNanoseconds
        else { return }
        for message in gone
        where message.sequence < trim.below && message.number >= trim.storedCount {
            unnoticeable.insert(message.number)
        }
    }

    /// A reader remembers a message that the stream lost, and goes on behind its place in the same flush: what had the
    /// place since was removed by hand before it could be compared.
    func notePassed(_ read: [StoredMessage]) {
        let lost = read.last {
            $0.sequence < broker.firstSequence && broker.branch[Int($0.sequence) - 1] !== $0
        }
        guard let lost, let last = read.last, last.sequence > lost.sequence,
            broker.message(at: last.sequence) === last
        else { return }
        for message in broker.branch.prefix(Int(lost.sequence))
        where message.draft.partition == lost.draft.partition {
            unnoticeable.insert(message.number)
        }
    }

    /// A stream that was cut, and of which all that could tell was removed afterwards.
    func noteUndetectable() {
        for row in database.rows.partitions {
            guard let anchor = row.anchors.first, anchor.sequence < broker.firstSequence,
                row.createdNanoseconds == broker.createdNanoseconds
            else { continue }
            if broker.branch[Int(anchor.sequence) - 1].anchor != anchor { isBeyondPromise = true }
        }
    }
}

internal import AggregatorCore
internal import Store
internal import Telemetry
internal import Windowing

/// What is checked at every commit, and at the end.
extension World {
    /// Whether rows and counters of clients that do not number are compared as well.
    private var comparesUnnumbered: Bool {
        !isBrokerClockWild && !isBeyondPromise && !losesIdentifiers
    }

    // MARK: At every commit

    /// Before a flush takes effect.
    func willFlush(_ batch: FlushBatch, _ ownership: Ownership, by host: SimulatedHost) {
        let row = database.rows.partitions[ownership.partition]
        if row.generation == ownership.generation,
            batch.progress.committedSequence < row.progress.committedSequence
        {
            fail(
                "partition \(ownership.partition) goes back from "
                    + "\(row.progress.committedSequence) to \(batch.progress.committedSequence)")
        }
        if let before = row.progress.completeThroughMilliseconds,
            batch.progress.completeThroughMilliseconds ?? .min < before
        {
            fail("partition \(ownership.partition): complete_through goes back")
        }
        if committers[ownership.nonce, default: host.name] != host.name {
            fail("two owners commit under one nonce")
        }
        committers[ownership.nonce] = host.name
        if !batch.progress.counters.isConserved { fail("counters do not add up") }
    }

    /// After a flush took effect, about the messages in `read`.
    func didFlush(
        _ batch: FlushBatch, _ partition: Int, _ read: [StoredMessage], blocked: Int
    ) {
        coverage.commits += 1
        // What was read of the stream before it was cut may be written after everything there was removed.
        noteUndetectable()
        notePassed(read)
        note(
            "partition \(partition): commits \(batch.expectedSequence) to "
                + "\(batch.progress.committedSequence), counted through "
                + "\(batch.progress.countedThroughSequence), messages "
                + "\(read.map(\.sequence))")
        if blocked > 0 { fail("\(blocked) rows are newer than the owner's") }
        checkSetAside(batch, read)
        let commit = CommitRecord(
            partition: partition, messages: read,
            setAside: Set(batch.deadLetters.filter { $0.index == -1 }.map(\.sequence)))
        commits.append(commit)
        oracle.apply(commit, events)
        check(batch.progress.counters, partition)
        for row in batch.cells { check(row.key) }
        for row in batch.sessions { check(row.key) }
    }

    private func checkSetAside(_ batch: FlushBatch, _ read: [StoredMessage]) {
        for letter in batch.deadLetters {
            if letter.index >= 0 { coverage.rejected += 1 }
            guard letter.reason == DeadLetter.crashesItsReader else { continue }
            guard let message = read.last(where: { $0.sequence == letter.sequence }) else {
                fail("a message that was not read is set aside")
                continue
            }
            if message.draft.kind == .lethal {
                coverage.lethalSetAside += 1
            } else {
                coverage.innocentSetAside += 1
            }
            if beginCounts[letter.sequence, default: 0] <= CrashCaution.beginCountMax {
                fail("message \(letter.sequence) is set aside, and did not begin so often")
            }
        }
    }

    private func check(_ counters: PartitionCounters, _ partition: Int) {
        let expected = oracle.partitions[partition].counters
        coverage.duplicates = max(coverage.duplicates, Int(counters.duplicates))
        guard counters.messages == expected.messages,
            counters.deadLetters == expected.deadLetters, counters.events == expected.events
        else {
            return fail(
                "partition \(partition) read \(counters), expected is \(expected)")
        }
        if comparesUnnumbered, counters != expected {
            fail("partition \(partition) counts \(counters), expected is \(expected)")
        }
    }

    private func isCompared(_ client: Name) -> Bool {
        comparesUnnumbered || probes.contains { $0.client == client && $0.isNumbered }
    }

    private func check(_ key: CellKey) {
        guard isCompared(key.client) else { return }
        let found = database.rows.cells[key]?.row.cell
        let expected = oracle.cells[key]
        switch (found, expected) {
        case (nil, nil): break
        case (let found?, let expected?) where expected.matches(found): break
        default:
            fail(
                "cell \(key.client) \(key.target) \(key.window.minute): "
                    + "\(found?.total ?? 0) events, expected are \(expected?.total ?? 0)")
        }
    }

    private func check(_ key: SessionKey) {
        let found = database.rows.sessions[key]?.row
        let expected = oracle.sessions[key]
        switch (found, expected) {
        case (nil, nil): break
        case (let found?, let expected?) where expected.matches(found): break
        default:
            fail(
                "session \(key.session) of \(key.client): \(found?.counted.ranges ?? []), "
                    + "\(found?.duplicates ?? 0) duplicates, expected are "
                    + "\(expected?.numbers.sorted() ?? []), \(expected?.duplicates ?? 0)")
        }
    }

    /// Before a move takes effect: what it reports as removed unread must be just that.
    func didMove(_ move: Reposition, _ partition: Int) {
        note(
            "partition \(partition): the log goes on after \(move.committedSequence) instead of "
                + "\(move.expectedSequence), counted through \(move.countedThroughSequence)")
        coverage.moves += 1
        if move.startsGeneration { coverage.generations += 1 }
        if move.countedThroughSequence > move.committedSequence { coverage.countedThrough += 1 }
        for range in move.lost where range.reason == LostRange.removedUnread {
            coverage.lostUnread += 1
            // What its owner saw before the stream was made anew is noticed when it begins to read.
            let isStale = move.streamCreatedNanoseconds != broker.createdNanoseconds
            guard !isBeyondPromise, !isStale else { continue }
            for message in broker.branch
            where message.draft.partition == partition && range.sequences.contains(message.sequence)
            {
                // Back again after its owner had looked, and before it wrote what it saw.
                if broughtBack.contains(message.number) { continue }
                if message.sequence >= broker.firstSequence {
                    fail("message \(message.sequence) is reported as lost, and is there")
                }
                if oracle.processed.contains(message.number),
                    message.sequence > move.countedThroughSequence
                {
                    fail("message \(message.sequence) is reported as lost, and is counted")
                }
            }
        }
    }

    // MARK: At the end

    func isReportedLost(_ message: StoredMessage) -> Bool {
        database.rows.lost[message.draft.partition].contains {
            $0.reason != LostRange.goneAfterCounting && $0.sequences.contains(message.sequence)
        }
    }

    /// Whether the tables hold all that the log does.
    var isConverged: Bool {
        guard outbox.allSatisfy(\.isEmpty), later.isEmpty, ghosts.isEmpty else { return false }
        for message in broker.branch.reversed() {
            let partition = database.rows.partitions[message.draft.partition]
            if message.sequence >= broker.firstSequence,
                partition.progress.committedSequence < message.sequence
            {
                return false
            }
            guard !oracle.processed.contains(message.number), !isReportedLost(message) else {
                continue
            }
            // What is gone for good is for the last check to find.
            if isBeyondPromise || message.sequence < broker.firstSequence { continue }
            return false
        }
        return true
    }

    var whatIsLeft: String {
        let left = broker.readable.filter { !oracle.processed.contains($0.number) }
        let rows = database.rows.partitions.map {
            "committed \($0.progress.committedSequence) by \($0.owner ?? "nobody")"
        }
        return "\(left.count) messages from \(left.first?.sequence ?? 0), partition "
            + "\(left.first?.draft.partition ?? -1); \(rows)"
    }

    /// All rows, whenever.
    func checkRows() {
        for key in Set(database.rows.cells.keys).union(oracle.cells.keys).sorted() { check(key) }
        for key in Set(database.rows.sessions.keys).union(oracle.sessions.keys).sorted() {
            check(key)
        }
    }

    /// Every message and every event, once everything has been read.
    func checkPromise() {
        guard violation == nil, !isBeyondPromise else { return }
        for message in broker.branch
        where !oracle.processed.contains(message.number) && !isReportedLost(message)
            && !unnoticeable.contains(message.number)
        {
            fail(
                "message \(message.sequence) of partition \(message.draft.partition) was "
                    + "removed unread, and is not reported as lost")
        }
        let present = Set(broker.branch.map(\.number))
        for (index, event) in events.enumerated()
        where event.isAcknowledged && !event.isNonsense && !oracle.counted.contains(index) {
            let isExplained = copies[index].contains { message in
                !present.contains(message.number) || isReportedLost(message)
                    || oracle.processed.contains(message.number)
                    || unnoticeable.contains(message.number)
            }
            if !isExplained { fail("event \(index) was acknowledged, and is not counted") }
        }
    }
}

internal import Blocks
internal import Failpoints
internal import LogDecoding
internal import Logging
internal import Windowing

/// From the log into memory.
extension PartitionWorker {
    func readAndApply(until deadline: ContinuousClock.Instant) throws(TablesError) {
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
    func goingOnWhenFenced(
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
    func abandon(_ partition: Int) throws(TablesError) {
        guard case .owned(let owned) = phases[partition] else { return }
        try flush(owned)
        drop(partition)
    }

    /// Whether the log is still the one that was read before; if not, the partition is begun anew.
    func isSameLog(
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
            try log.require(
                known, in: extent, createdNanoseconds: owned.logCreatedNanoseconds)
        } catch {
            report(error)
            try abandon(partition)
            return false
        }
        owned.verifiedReading = reading
        return true
    }

    /// Counts messages, in chunks for which the rows are loaded together.
    func count(_ messages: [LogMessage], _ owned: OwnedState) throws(TablesError) {
        var chunk: [DecodedMessage] = []
        var eventCount = 0
        for message in messages {
            try renewDue()
            guard isOwned(owned) else { return }
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

    func isOwned(_ owned: OwnedState) -> Bool {
        if case .owned(let current) = phases[owned.ownership.partition] {
            return current === owned
        }
        return false
    }

    /// Remembers the identifiers of a message that is counted already.
    func remember(_ message: LogMessage, _ owned: OwnedState) {
        failpoint(.aggregatorReplaying)
        // What killed its readers would kill this one too, and none of its events was counted.
        guard !owned.crashingSequences.contains(message.position.sequence) else { return }
        if case .events(let block, _) = decoder.decode(message).content {
            block.withReader { owned.state.remember($0, at: message.position) }
        }
    }

    /// Counts one message in a transaction of its own, after the ledger has it: if it kills the process, the next
    /// owner knows which one it was.
    func countCautiously(
        _ message: LogMessage, _ owned: OwnedState
    ) throws(TablesError) {
        let sequence = message.position.sequence
        let partition = owned.ownership.partition
        // A failure that this process has survived was not the message's.
        let isAgain = begunHere[partition] == sequence
        let begun = isAgain ? 1 : try tables.beginMessage(sequence, under: owned.ownership)
        begunHere[partition] = sequence
        owned.hasCrashes = true
        if begun > CrashCaution.beginCountMax {
            setAside(
                DecodedMessage(
                    message,
                    .unreadable(
                        reason: DeadLetter.crashesItsReader,
                        detail: "\(begun - 1) processes began to count it and vanished")), owned)
        } else {
            try apply([decoder.decode(message)], to: owned)
        }
        guard isOwned(owned) else { return }
        owned.cautiousMessageCount -= 1
        try flush(owned)
    }

    func apply(
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

    func setAside(_ message: DecodedMessage, _ owned: OwnedState) {
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
}

/// Events that are loaded and counted together: one round trip finds the rows of all of them.
private let chunkEventCountMax = 10_000

internal import NATSClient

/// Which subjects a ``StreamReader`` reads by which consumers.
struct ReaderState {
    struct Entry {
        /// Tells this reading of a tag from an earlier one.
        let identity: UInt64
        var cursor: PullCursor
    }

    private(set) var entries: [Int: Entry] = [:]
    private var tagOfConsumer: [String: Int] = [:]
    /// Consumers to delete, a courtesy: the server drops them by itself later.
    private var abandoned: [String] = []
    private var nextIdentity: UInt64 = 0
    var statistics = ReaderStatistics()
    private(set) var lastError: NATSError?

    mutating func add(_ tag: Int, _ cursor: PullCursor) {
        remove(tag)
        nextIdentity += 1
        entries[tag] = Entry(identity: nextIdentity, cursor: cursor)
    }

    mutating func remove(_ tag: Int) {
        guard let entry = entries.removeValue(forKey: tag) else { return }
        abandon(entry.cursor.consumer)
    }

    mutating func setPaused(_ isPaused: Bool, _ tag: Int) {
        entries[tag]?.cursor.isPaused = isPaused
    }

    mutating func takeAbandoned() -> [String] {
        defer { abandoned.removeAll() }
        return abandoned
    }

    /// What to do for `tag` now, and for which reading of it.
    mutating func nextAction(
        _ tag: Int, now: ContinuousClock.Instant
    ) -> (identity: UInt64, action: PullCursor.Action)? {
        guard let identity = entries[tag]?.identity,
            let action = entries[tag]?.cursor.nextAction(now: now)
        else { return nil }
        return (identity, action)
    }

    /// Compares the stream with what was read of it, before a consumer is made for `tag`.
    ///
    /// - Returns: Whether to make one.
    mutating func streamFound(
        createdNanoseconds: Int64, lastSequence: UInt64, tag: Int, identity: UInt64
    ) -> Bool {
        guard entries[tag]?.identity == identity,
            let mayGoOn = entries[tag]?.cursor.streamFound(
                createdNanoseconds: createdNanoseconds, lastSequence: lastSequence)
        else { return false }
        if !mayGoOn {
            statistics.halted += 1
        }
        return mayGoOn
    }

    mutating func created(
        consumer: String, pendingCount: UInt64, tag: Int, identity: UInt64,
        now: ContinuousClock.Instant
    ) {
        statistics.consumersCreated += 1
        lastError = nil
        guard entries[tag]?.identity == identity else {
            // The tag was removed or added anew while the server worked.
            abandoned.append(consumer)
            return
        }
        tagOfConsumer[consumer] = tag
        entries[tag]?.cursor.created(consumer: consumer, pendingCount: pendingCount, now: now)
    }

    mutating func creationFailed(
        _ error: NATSError, tag: Int, identity: UInt64, now: ContinuousClock.Instant
    ) {
        statistics.creationsFailed += 1
        lastError = error
        if entries[tag]?.identity == identity {
            entries[tag]?.cursor.creationFailed(now: now)
        }
    }

    /// A message has come.
    ///
    /// - Returns: The tag to deliver it under; `nil` when it is not to be delivered.
    mutating func received(
        _ metadata: DeliveryMetadata, byteCount: Int, stream: String, now: ContinuousClock.Instant
    ) -> Int? {
        guard metadata.stream == stream, let tag = tagOfConsumer[metadata.consumer],
            let verdict = entries[tag]?.cursor.received(metadata, now: now)
        else {
            statistics.messagesStale += 1
            return nil
        }
        switch verdict {
        case .deliver:
            statistics.messages += 1
            statistics.bytes += byteCount
            return tag
        case .giveUp(let trouble):
            abandon(metadata.consumer)
            statistics.count(trouble)
        case .halt:
            abandon(metadata.consumer)
            statistics.halted += 1
        }
        return nil
    }

    /// A status of a request has come.
    mutating func received(
        _ status: PullStatus, tag: Int, request: UInt64, now: ContinuousClock.Instant
    ) {
        let consumer = entries[tag]?.cursor.consumer
        let trouble = entries[tag]?.cursor.received(status, request: request, now: now)
        if let trouble {
            abandon(consumer)
            statistics.count(trouble)
        }
    }

    /// Gives up every consumer, whose messages may have been lost on the way.
    mutating func connectionLost() {
        for tag in Array(entries.keys) {
            guard let consumer = entries[tag]?.cursor.consumer else { continue }
            entries[tag]?.cursor.connectionLost()
            abandon(consumer)
            statistics.givenUpForReconnect += 1
        }
    }

    /// Notices consumers that have been silent for too long.
    mutating func checkTime(now: ContinuousClock.Instant) {
        for tag in Array(entries.keys) {
            let consumer = entries[tag]?.cursor.consumer
            guard let trouble = entries[tag]?.cursor.checkTime(now: now) else { continue }
            abandon(consumer)
            statistics.count(trouble)
        }
    }

    /// Forgets a consumer: its messages are stale from here on.
    private mutating func abandon(_ consumer: String?) {
        guard let consumer, tagOfConsumer.removeValue(forKey: consumer) != nil else { return }
        abandoned.append(consumer)
    }
}

extension ReaderStatistics {
    fileprivate mutating func count(_ trouble: PullCursor.Trouble) {
        switch trouble {
        case .gap: givenUpForGap += 1
        case .silence: givenUpForSilence += 1
        case .gone: givenUpAsGone += 1
        }
    }
}

package import Blocks
internal import Failpoints
package import NATSClient
internal import OwnedThreads
internal import Synchronization
package import Telemetry

/// Publishes events in blocks, and heartbeats, and tells when they are durable.
///
/// Group commit: events of many requests gather in one open block per partition. The block leaves
/// at once while few are without an acknowledgement, and grows while they are, so a lone event is
/// not delayed and a slow disk makes larger blocks by itself. No timer is involved.
///
/// ``append(partition:to:body:)``, ``publishHeartbeat(_:to:)`` and ``commit(_:)`` are called from
/// any thread, event loops included: they take short locks and never wait for the network. One
/// owned thread hands blocks to libnats and handles acknowledgements and time limits.
///
/// Publishes are plain NATS publishes with an inbox of our own for the acknowledgements:
/// libnats's asynchronous JetStream publish sends what it has already reported as failed, and
/// leaves calls unresolved when the server dies. No `Nats-Msg-Id` is set: servers before 2.11
/// can refuse a repeated id whose message they never stored. Identifiers inside the events make
/// repeats harmless instead.
package final class BlockPublisher: Sendable {
    package let settings: PublisherSettings
    /// Names this start of this process in every block.
    package let producer: UniqueID

    private let connector: NATSConnector
    private let lanes: [PublishLane]
    private let counters = PublisherCounters()
    /// Open, waiting and in flight over all lanes, bytes.
    private let byteCount = Atomic(0)
    private let isReady = Atomic(false)
    private let signal = Monitor(Signal())
    private let thread: Mutex<OwnedThread?> = Mutex(nil)
    /// Whether the thread will look at time limits without being woken.
    private let isWatching = Atomic(false)
    private let onLoss: @Sendable (StreamLoss) -> Void

    /// What wakes the thread.
    private struct Signal {
        /// Whether something may leave.
        var isCalled = false
        var answers: [NATSMessage] = []
        var hasConnectionChanged = true
        var hasLostConnection = false
        var stopDeadline: ContinuousClock.Instant?
        var hasStopBeenAsked = false

        var isQuiet: Bool {
            !isCalled && answers.isEmpty && !hasConnectionChanged && !hasLostConnection
                && !hasStopBeenAsked
        }

        /// Returns all of it and leaves only what stays true.
        mutating func take() -> Signal {
            let taken = self
            self = Signal()
            hasConnectionChanged = false
            stopDeadline = taken.stopDeadline
            return taken
        }
    }

    /// Starts the publisher's thread.
    ///
    /// - Parameters:
    ///   - connector: Stays the caller's, who stops it after the publisher.
    ///   - producer: A random identifier, new at every start of the process: block numbers start
    ///     from 1 with it.
    ///   - onLoss: Told on the publisher's thread when a stream has lost what it had acknowledged.
    package init(
        connector: NATSConnector, producer: UniqueID, settings: PublisherSettings,
        onLoss: @escaping @Sendable (StreamLoss) -> Void = { _ in }
    ) {
        self.onLoss = onLoss
        self.connector = connector
        self.producer = producer
        self.settings = settings
        let partitions = (0..<settings.partitioning.count).map { partition in
            PublishLane(
                index: partition, subject: BusSubject.events(partition: partition),
                stream: BusStream.events,
                builder: BlockBuilder(
                    partition: partition, producer: producer,
                    byteCountMax: settings.blockByteCountMax))
        }
        let heartbeats = PublishLane(
            index: partitions.count, subject: BusSubject.heartbeats, stream: BusStream.heartbeats,
            builder: nil)
        lanes = partitions + [heartbeats]
        connector.observe { [weak self] event in
            self?.handle(event)
        }
        // The thread keeps the publisher alive until `stop`.
        let thread = OwnedThread(name: "publish") { self.run() }
        self.thread.withLock { $0 = thread }
    }

    /// Whether appends are taken now: connected, and room below the bound.
    package var isAccepting: Bool {
        isReady.load(ordering: .acquiring)
            && byteCount.load(ordering: .relaxed) < settings.byteCountMax
    }

    package var statistics: PublisherStatistics {
        var statistics = counters.snapshot
        statistics.byteCount = byteCount.load(ordering: .relaxed)
        return statistics
    }

    /// Adds events to a partition's open block.
    ///
    /// `body` appends with ``BlockBuilder/append(_:)`` and returns true when it is done. When an
    /// append returns false, the block is full: `body` returns false and is called again with an
    /// empty one, where it goes on from the event that did not fit.
    ///
    /// - Throws: `.unavailable`, `.overloaded`, `.stopped`, or `.tooLarge` when an event does not
    ///   fit into an empty block. The receipt remembers the error: commit it all the same.
    package func append(
        partition: Int, to receipt: PublishReceipt, body: (inout BlockBuilder) -> Bool
    ) throws(PublishError) {
        precondition(
            (0..<settings.partitioning.count).contains(partition), "no partition \(partition)")
        try admit(receipt)
        switch lanes[partition].append(receipt, body) {
        case .taken(let change):
            byteCount.add(change, ordering: .sequentiallyConsistent)
        case .tooLarge(let change):
            byteCount.add(change, ordering: .relaxed)
            counters.refusedTooLarge.add(1, ordering: .relaxed)
            throw refuse(
                receipt,
                PublishError(.tooLarge, "an event does not fit into the server's largest message"))
        }
    }

    /// Publishes a heartbeat, a JSON object, as a message of its own.
    ///
    /// - Throws: As ``append(partition:to:body:)``.
    package func publishHeartbeat(
        _ payload: [UInt8], to receipt: PublishReceipt
    ) throws(PublishError) {
        try admit(receipt)
        guard payload.count <= settings.blockByteCountMax else {
            counters.refusedTooLarge.add(1, ordering: .relaxed)
            throw refuse(
                receipt,
                PublishError(
                    .tooLarge,
                    "\(payload.count) bytes; a message has at most \(settings.blockByteCountMax)"))
        }
        byteCount.add(payload.count, ordering: .sequentiallyConsistent)
        lanes[lanes.count - 1].enqueue(payload, receipt)
    }

    /// Says that nothing more comes under `receipt`, and lets its blocks go.
    ///
    /// The receipt's outcome comes later on the publisher's thread; at once, inside this call,
    /// when an append was refused or nothing was appended. A receipt with a queue gets it there.
    ///
    /// - Parameter wakes: False where ``wake()`` follows: an event loop that serves many requests in
    ///   one turn wakes the publisher once for all of them.
    package func commit(_ receipt: PublishReceipt, wakes: Bool = true) {
        if let completion = receipt.commit() {
            var batches = CompletionBatches()
            batches.add(completion)
            batches.deliver()
        }
        if wakes { wake() }
    }

    /// Lets go what was committed without waking the publisher.
    package func wake() {
        // A lane that waits for answers goes on with them; but somebody must watch their time limits.
        guard
            !isWatching.load(ordering: .sequentiallyConsistent)
                || lanes.contains(where: \.wantsThread)
        else { return }
        signal.update { $0.isCalled = true }
    }

    /// Takes no more, waits until everything committed has its outcome, and ends the thread.
    ///
    /// Blocks. What has no answer within `limit` fails as `.stopped`.
    package func stop(within limit: Duration = .seconds(10)) {
        isReady.store(false, ordering: .releasing)
        signal.update { signal in
            signal.stopDeadline = signal.stopDeadline ?? .now + limit
            signal.hasStopBeenAsked = true
        }
        thread.withLock { thread in
            thread?.join()
            thread = nil
        }
    }

    private func admit(_ receipt: PublishReceipt) throws(PublishError) {
        guard isReady.load(ordering: .acquiring) else {
            counters.refusedUnavailable.add(1, ordering: .relaxed)
            throw refuse(receipt, PublishError(.unavailable, "no connection to NATS"))
        }
        guard byteCount.load(ordering: .relaxed) < settings.byteCountMax else {
            counters.refusedOverloaded.add(1, ordering: .relaxed)
            throw refuse(
                receipt,
                PublishError(
                    .overloaded,
                    "\(settings.byteCountMax) bytes already wait for acknowledgements"))
        }
    }

    private func refuse(_ receipt: PublishReceipt, _ error: PublishError) -> PublishError {
        receipt.refused(error)
        return error
    }

    /// Runs on libnats's event thread or the connector's: notes and returns.
    private func handle(_ event: NATSConnectionEvent) {
        switch event {
        case .disconnected, .closed:
            isReady.store(false, ordering: .releasing)
            signal.update { $0.hasLostConnection = true }
        case .connected, .reconnected:
            signal.update { $0.hasConnectionChanged = true }
        case .connectFailed, .error:
            break
        }
    }
}

// MARK: - The publisher's thread

/// How often blocks in flight are checked against their time limit.
private let expiryInterval = Duration.milliseconds(100)

extension BlockPublisher {
    /// How long a process that is killed behind a publish waits until the server has it.
    private static let flushBeforeDyingLimit = Duration.seconds(1)

    /// The connection in use and the subscription to acknowledgements on it.
    private struct Link {
        let connection: NATSConnection
        let inbox: String
        let subscription: NATSSubscription
    }

    /// What only the thread knows.
    private struct Own {
        var link: Link?
        /// Of each lane.
        var inFlight: [BlocksInFlight<PublishReceipt>]
        /// The highest sequence that each stream has acknowledged.
        var acknowledged: [String: UInt64] = [:]
        var outcomes = CompletionBatches()
    }

    private func run() {
        var own = Own(
            inFlight: lanes.map { lane in
                BlocksInFlight(
                    countMax: lane.index < settings.partitioning.count
                        ? settings.blocksInFlightMax : settings.messagesInFlightMax)
            })
        // Have answers, or lost blocks to time, in this turn.
        var isMoving = [Bool](repeating: false, count: lanes.count)
        var nextExpiry = ContinuousClock.now + expiryInterval
        while true {
            let work = takeWork(until: nextExpiry)
            if work.hasLostConnection {
                giveUpEverything(
                    PublishError(.unavailable, "the connection to NATS was lost"),
                    counter: counters.blocksDisconnected, &own)
            }
            if work.hasConnectionChanged || work.hasLostConnection {
                own.link = renew(own.link)
            }
            for answer in work.answers {
                if let lane = process(answer, &own) { isMoving[lane] = true }
            }
            own.outcomes.deliver()
            let now = ContinuousClock.now
            if now >= nextExpiry {
                for lane in expire(now: now, &own) { isMoving[lane] = true }
                nextExpiry = now + expiryInterval
            }
            for lane in lanes where lane.takeTouched() || isMoving[lane.index] {
                isMoving[lane.index] = false
                send(lane, &own)
            }
            own.outcomes.deliver()
            if let deadline = work.stopDeadline,
                byteCount.load(ordering: .relaxed) == 0 || now >= deadline
            {
                break
            }
        }
        isReady.store(false, ordering: .releasing)
        giveUpEverything(
            PublishError(.stopped, "the publisher was stopped"),
            counter: counters.blocksDisconnected, &own)
        own.link?.subscription.cancel()
        NATSConnection.releaseThreadMemory()
    }

    private func takeWork(until deadline: ContinuousClock.Instant) -> Signal {
        // Nothing can expire while nothing is there, so an idle publisher sleeps. Who appends after this
        // look finds that nobody watches, and wakes the thread.
        isWatching.store(false, ordering: .sequentiallyConsistent)
        let isIdle = byteCount.load(ordering: .sequentiallyConsistent) == 0
        if !isIdle { isWatching.store(true, ordering: .sequentiallyConsistent) }
        let taken = signal.wait(until: isIdle ? nil : deadline) { signal in
            signal.isQuiet ? nil : signal.take()
        }
        return taken ?? signal.withLock { $0.take() }
    }

    /// Subscribes to acknowledgements on a connection that is new, and opens the door if it is up.
    private func renew(_ link: Link?) -> Link? {
        guard let connection = connector.connection else { return nil }
        var link = link
        if link?.connection !== connection {
            link = subscribe(connection)
        }
        let isStopping = signal.withLock { $0.stopDeadline != nil }
        let isUp = link != nil && connector.isConnected && !isStopping
        if isUp {
            fitBuilders(to: connection.maxPayloadBytes)
        }
        isReady.store(isUp, ordering: .releasing)
        return link
    }

    private func subscribe(_ connection: NATSConnection) -> Link? {
        let inbox = connection.makeInboxPrefix()
        // Fails only when the connection has closed meanwhile, which is an event of its own.
        let subscription = try? connection.subscribe("\(inbox).*") { [signal] answer in
            signal.update { $0.answers.append(answer) }
        }
        return subscription.map { Link(connection: connection, inbox: inbox, subscription: $0) }
    }

    /// A server that takes less than a block's bound gets smaller blocks.
    private func fitBuilders(to maxPayload: Int) {
        guard maxPayload > 0, maxPayload < settings.blockByteCountMax else { return }
        for lane in lanes.dropLast() {
            lane.rebuild {
                BlockBuilder(
                    partition: lane.index, producer: producer, byteCountMax: maxPayload)
            }
        }
    }

    private func send(_ lane: PublishLane, _ own: inout Own) {
        // The status is asked here, not in `append`: libnats holds its lock while it writes.
        guard let link = own.link, link.connection.isConnected else {
            giveUp(
                lane, PublishError(.unavailable, "no connection to NATS"),
                counter: counters.blocksDisconnected, &own)
            return
        }
        let before = own.acknowledged[lane.stream] ?? 0
        while let block = lane.nextToSend(hasRoom: own.inFlight[lane.index].hasRoom) {
            own.inFlight[lane.index].add(
                block, deadline: .now + settings.acknowledgementLimit, acknowledgedBefore: before)
            counters.blocksSent.add(1, ordering: .relaxed)
            counters.bytesSent.add(block.payload.count, ordering: .relaxed)
            failpoint(.ingestBeforePublish)
            do throws(NATSError) {
                try link.connection.publish(
                    block.payload, to: lane.subject,
                    replyTo: "\(link.inbox).\(AnswerToken(lane: lane.index, number: block.number))")
                failpoint(.ingestPublished) {
                    try? link.connection.flush(timeout: Self.flushBeforeDyingLimit)
                }
            } catch {
                giveUp(
                    own.inFlight[lane.index].answered(block.number).map { [$0] } ?? [],
                    PublishError(
                        error.code == .maxPayload ? .tooLarge : .unavailable, "\(error)"),
                    counter: counters.blocksDisconnected, &own.outcomes)
            }
        }
    }

    /// - Returns: The lane that may send its next block now.
    private func process(_ answer: NATSMessage, _ own: inout Own) -> Int? {
        guard let token = AnswerToken(subject: answer.subject), lanes.indices.contains(token.lane)
        else {
            counters.answersUnreadable.add(1, ordering: .relaxed)
            return nil
        }
        let lane = lanes[token.lane]
        guard let block = own.inFlight[token.lane].answered(token.number) else {
            counters.answersLate.add(1, ordering: .relaxed)
            return nil
        }
        let status = answer.header("Status")
        let result = answer.withUnsafePayload {
            PublishAnswer($0, status: status, stream: lane.stream)
        }
        switch result {
        case .stored(let sequence):
            failpoint(.ingestAcknowledged)
            noteStored(sequence, block, inStream: lane.stream, &own)
            counters.blocksAcknowledged.add(1, ordering: .relaxed)
            counters.eventsAcknowledged.add(block.eventCount, ordering: .relaxed)
            byteCount.subtract(block.byteCount, ordering: .relaxed)
            for waiter in block.waiters {
                if let completion = waiter.finished(nil) { own.outcomes.add(completion) }
            }
        case .failed(let error):
            giveUp([block], error, counter: counters.blocksRefused, &own.outcomes)
        case .unreadable:
            counters.answersUnreadable.add(1, ordering: .relaxed)
            giveUp(
                [block], PublishError(.refused, "the server's answer cannot be read"),
                counter: counters.blocksRefused, &own.outcomes)
        }
        return token.lane
    }

    /// A stream gives out ever higher sequences; one that gives out again what it had acknowledged before the block
    /// left has lost it.
    private func noteStored(
        _ sequence: UInt64, _ block: BlocksInFlight<PublishReceipt>.Sent,
        inStream stream: String, _ own: inout Own
    ) {
        let highest = own.acknowledged[stream] ?? 0
        let hasLost = sequence <= block.acknowledgedBefore
        // Blocks that left before this answer came back say the same once more; it is told once.
        own.acknowledged[stream] = hasLost ? sequence : max(highest, sequence)
        guard sequence <= block.acknowledgedBefore, sequence <= highest,
            block.acknowledgedBefore <= highest
        else { return }
        counters.streamLosses.add(1, ordering: .relaxed)
        onLoss(StreamLoss(stream: stream, sequences: sequence...highest))
    }

    /// - Returns: The lanes that may send more now.
    private func expire(now: ContinuousClock.Instant, _ own: inout Own) -> [Int] {
        lanes.indices.filter { lane in
            let late = own.inFlight[lane].expire(now: now)
            giveUp(
                late,
                PublishError(
                    .timeout, "no acknowledgement within \(settings.acknowledgementLimit)"),
                counter: counters.blocksTimedOut, &own.outcomes)
            return !late.isEmpty
        }
    }

    private func giveUpEverything(
        _ error: PublishError, counter: borrowing Atomic<Int>, _ own: inout Own
    ) {
        for lane in lanes {
            giveUp(lane, error, counter: counter, &own)
        }
        own.outcomes.deliver()
    }

    /// Gives up all of a lane, what has not left too.
    private func giveUp(
        _ lane: PublishLane, _ error: PublishError, counter: borrowing Atomic<Int>,
        _ own: inout Own
    ) {
        let blocks =
            own.inFlight[lane.index].removeAll() + lane.takeAll().map { BlocksInFlight.Sent($0) }
        giveUp(blocks, error, counter: counter, &own.outcomes)
    }

    private func giveUp(
        _ blocks: [BlocksInFlight<PublishReceipt>.Sent], _ error: PublishError,
        counter: borrowing Atomic<Int>, _ outcomes: inout CompletionBatches
    ) {
        for block in blocks {
            counter.add(1, ordering: .relaxed)
            byteCount.subtract(block.byteCount, ordering: .relaxed)
            for waiter in block.waiters {
                if let completion = waiter.finished(error) { outcomes.add(completion) }
            }
        }
    }
}

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
    /// The highest sequence that each stream has acknowledged; the thread's own.
    private let acknowledged = Mutex<[String: UInt64]>([:])

    /// What wakes the thread.
    private struct Signal {
        var lanes: Set<Int> = []
        var answers: [NATSMessage] = []
        var hasConnectionChanged = true
        var hasLostConnection = false
        var stopDeadline: ContinuousClock.Instant?
        var hasStopBeenAsked = false

        var isQuiet: Bool {
            lanes.isEmpty && answers.isEmpty && !hasConnectionChanged && !hasLostConnection
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
                stream: BusStream.events, inFlightMax: settings.blocksInFlightMax,
                builder: BlockBuilder(
                    partition: partition, producer: producer,
                    byteCountMax: settings.blockByteCountMax))
        }
        let heartbeats = PublishLane(
            index: partitions.count, subject: BusSubject.heartbeats, stream: BusStream.heartbeats,
            inFlightMax: settings.messagesInFlightMax, builder: nil)
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
        let touched = receipt.commit()
        // A lane that waits for answers goes on with them; but somebody must watch their time limits.
        let isWatched = isWatching.load(ordering: .sequentiallyConsistent)
        let leaving = touched.filter { !isWatched || lanes[$0].mayLeave }
        guard !leaving.isEmpty else { return }
        if wakes {
            signal.update { $0.lanes.formUnion(leaving) }
        } else {
            signal.withLock { $0.lanes.formUnion(leaving) }
        }
    }

    /// Lets go what was committed without waking the publisher.
    package func wake() {
        signal.update { _ in }
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

    private func run() {
        var link: Link?
        var nextExpiry = ContinuousClock.now + expiryInterval
        while true {
            let work = takeWork(until: nextExpiry)
            if work.hasLostConnection {
                giveUpEverything(
                    PublishError(.unavailable, "the connection to NATS was lost"),
                    counter: counters.blocksDisconnected)
            }
            if work.hasConnectionChanged || work.hasLostConnection {
                link = renew(link)
            }
            var lanesToSend = work.lanes
            var loops: [CompletionQueue] = []
            for answer in work.answers {
                if let lane = process(answer, waking: &loops) {
                    lanesToSend.insert(lane)
                }
            }
            for loop in loops { loop.wakeLoop() }
            let now = ContinuousClock.now
            if now >= nextExpiry {
                lanesToSend.formUnion(expire(now: now))
                nextExpiry = now + expiryInterval
            }
            for lane in lanesToSend {
                send(lanes[lane], link)
            }
            if let deadline = work.stopDeadline,
                byteCount.load(ordering: .relaxed) == 0 || now >= deadline
            {
                break
            }
        }
        isReady.store(false, ordering: .releasing)
        giveUpEverything(
            PublishError(.stopped, "the publisher was stopped"),
            counter: counters.blocksDisconnected)
        link?.subscription.cancel()
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
        let inbox = NATSInbox.makePrefix()
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

    private func send(_ lane: PublishLane, _ link: Link?) {
        // The status is asked here, not in `append`: libnats holds its lock while it writes.
        guard let link, link.connection.isConnected else {
            giveUp(
                lane.removeAll(), PublishError(.unavailable, "no connection to NATS"),
                counter: counters.blocksDisconnected)
            return
        }
        let before = acknowledged.withLock { $0[lane.stream] ?? 0 }
        while let block = lane.nextToSend(
            deadline: .now + settings.acknowledgementLimit, acknowledgedBefore: before)
        {
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
                    lane.answered(block.number).map { [$0] } ?? [],
                    PublishError(
                        error.code == .maxPayload ? .tooLarge : .unavailable, "\(error)"),
                    counter: counters.blocksDisconnected)
            }
        }
    }

    /// - Parameter loops: Receives those that must be woken for the outcomes.
    /// - Returns: The lane that may send its next block now.
    private func process(
        _ answer: NATSMessage, waking loops: inout [CompletionQueue]
    ) -> Int? {
        guard let token = AnswerToken(subject: answer.subject), lanes.indices.contains(token.lane)
        else {
            counters.answersUnreadable.add(1, ordering: .relaxed)
            return nil
        }
        let lane = lanes[token.lane]
        guard let block = lane.answered(token.number) else {
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
            noteStored(sequence, block, inStream: lane.stream)
            counters.blocksAcknowledged.add(1, ordering: .relaxed)
            counters.eventsAcknowledged.add(block.eventCount, ordering: .relaxed)
            byteCount.subtract(block.byteCount, ordering: .relaxed)
            for waiter in block.waiters {
                if let loop = waiter.finished(nil) { loops.append(loop) }
            }
        case .failed(let error):
            giveUp([block], error, counter: counters.blocksRefused)
        case .unreadable:
            counters.answersUnreadable.add(1, ordering: .relaxed)
            giveUp(
                [block], PublishError(.refused, "the server's answer cannot be read"),
                counter: counters.blocksRefused)
        }
        return token.lane
    }

    /// A stream gives out ever higher sequences; one that gives out again what it had acknowledged before the block
    /// left has lost it.
    private func noteStored(
        _ sequence: UInt64, _ block: PublishLane.Queue.Sent, inStream stream: String
    ) {
        let highest = acknowledged.withLock { acknowledged -> UInt64 in
            let highest = acknowledged[stream] ?? 0
            let hasLost = sequence <= block.acknowledgedBefore
            // Blocks that left before this answer came back say the same once more; it is told once.
            acknowledged[stream] = hasLost ? sequence : max(highest, sequence)
            return highest
        }
        guard sequence <= block.acknowledgedBefore, sequence <= highest,
            block.acknowledgedBefore <= highest
        else { return }
        counters.streamLosses.add(1, ordering: .relaxed)
        onLoss(StreamLoss(stream: stream, sequences: sequence...highest))
    }

    private func expire(now: ContinuousClock.Instant) -> [Int] {
        lanes.compactMap { lane in
            let late = lane.expire(now: now)
            guard !late.isEmpty else { return nil }
            giveUp(
                late,
                PublishError(
                    .timeout, "no acknowledgement within \(settings.acknowledgementLimit)"),
                counter: counters.blocksTimedOut)
            return lane.index
        }
    }

    private func giveUpEverything(_ error: PublishError, counter: borrowing Atomic<Int>) {
        for lane in lanes {
            giveUp(lane.removeAll(), error, counter: counter)
        }
    }

    private func giveUp(
        _ blocks: [PublishLane.Queue.Sent], _ error: PublishError, counter: borrowing Atomic<Int>
    ) {
        for block in blocks {
            counter.add(1, ordering: .relaxed)
            byteCount.subtract(block.byteCount, ordering: .relaxed)
            for waiter in block.waiters {
                waiter.finished(error)?.wakeLoop()
            }
        }
    }
}

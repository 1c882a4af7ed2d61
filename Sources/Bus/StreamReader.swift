package import NATSClient
internal import OwnedThreads
internal import Synchronization

/// A message read from a stream.
package struct BusMessage: Sendable {
    /// Which of the reader's subjects it belongs to: the partition of an event.
    package let tag: Int
    package let streamSequence: UInt64
    package let consumerSequence: UInt64
    /// When the stream's leader stored it, Unix time.
    package let timestampNanoseconds: Int64
    package let message: NATSMessage
}

/// Reads subjects of one stream, each from its own sequence, in order and without gaps.
///
/// One ephemeral pull consumer per subject, without acknowledgements and with its state in
/// memory. The reader checks what it gets: consumer sequences must be dense and stream sequences
/// must rise. Whenever something could be missing (a gap, silence, a deleted consumer, a lost
/// connection) it makes the consumer anew from the first sequence it has not returned. So it
/// neither skips nor repeats a message of a stream; that the stream is another one than before
/// is told by ``ReaderPosition/discontinuity``.
///
/// It pulls by itself over an inbox of its own: libnats's ordered consumer drops messages
/// without a word, and its `Fetch` stalls when messages of an earlier request come late.
///
/// ``next(until:)`` belongs to one owned thread; everything else may be called from any thread.
package final class StreamReader: Sendable {
    package let stream: String
    private let settings: ReaderSettings
    private let connector: NATSConnector
    private let subjectOfTag: @Sendable (Int) -> String?
    private let state = Mutex(ReaderState())
    private let link: Mutex<Link?> = Mutex(nil)
    private let mailbox = Monitor(Mailbox())

    private struct Link {
        let connection: NATSConnection
        let inbox: String
        let subscription: NATSSubscription
    }

    private struct Mailbox {
        var messages: [NATSMessage] = []
        var unaskedCount = 0
        var bound = 0
        var hasLostConnection = false
        var hasNews = false
    }

    /// - Parameters:
    ///   - connector: Stays the caller's.
    ///   - filterSubject: The subject of a tag; `nil` reads the whole stream.
    package init(
        connector: NATSConnector, stream: String, settings: ReaderSettings = ReaderSettings(),
        filterSubject: @escaping @Sendable (Int) -> String?
    ) {
        self.connector = connector
        self.stream = stream
        self.settings = settings
        subjectOfTag = filterSubject
        connector.observe { [mailbox] event in
            mailbox.update { mailbox in
                switch event {
                case .disconnected, .closed: mailbox.hasLostConnection = true
                case .connected, .reconnected: mailbox.hasNews = true
                case .connectFailed, .error: break
                }
            }
        }
    }

    /// A reader of events; the tags are partitions.
    package static func events(
        connector: NATSConnector, settings: ReaderSettings = ReaderSettings()
    ) -> StreamReader {
        StreamReader(connector: connector, stream: BusStream.events, settings: settings) {
            BusSubject.events(partition: $0)
        }
    }

    /// A reader of heartbeats; the one tag is 0.
    package static func heartbeats(
        connector: NATSConnector, settings: ReaderSettings = ReaderSettings()
    ) -> StreamReader {
        StreamReader(connector: connector, stream: BusStream.heartbeats, settings: settings) { _ in
            nil
        }
    }

    /// Reads `tag` from `startSequence` on; replaces an earlier reading of the same tag.
    ///
    /// A start below the stream's first message begins at that message: whether this loses
    /// something is for the caller to find out from the stream's description.
    package func add(_ tag: Int, from startSequence: UInt64) {
        state.withLock { state in
            state.add(tag, PullCursor(startSequence: startSequence, settings: settings))
        }
        boundMailbox()
    }

    /// Stops reading `tag`. Messages that ``next(until:)`` has not returned are forgotten.
    package func remove(_ tag: Int) {
        state.withLock { $0.remove(tag) }
        boundMailbox()
    }

    /// Asks for no more messages of `tag`; what was asked for still comes.
    package func pause(_ tag: Int) {
        state.withLock { $0.setPaused(true, tag) }
    }

    package func resume(_ tag: Int) {
        state.withLock { $0.setPaused(false, tag) }
        wake()
    }

    /// How far `tag` has been read; `nil` when it is not being read.
    package func position(of tag: Int) -> ReaderPosition? {
        state.withLock { state in
            state.entries[tag].map { entry in
                ReaderPosition(
                    nextSequence: entry.cursor.nextSequence, caughtUpAt: entry.cursor.caughtUpAt,
                    discontinuity: entry.cursor.discontinuity,
                    readingCount: entry.cursor.createdCount)
            }
        }
    }

    package var statistics: ReaderStatistics {
        state.withLock { $0.statistics }
    }

    /// Why the last consumer could not be made; `nil` when the last one was.
    package var lastError: NATSError? {
        state.withLock { $0.lastError }
    }

    /// Makes a waiting ``next(until:)`` return.
    package func wake() {
        mailbox.update { $0.hasNews = true }
    }

    /// Ends the subscription and every consumer. ``next(until:)`` must not be called after.
    package func stop() {
        state.withLock { state in
            for tag in Array(state.entries.keys) {
                state.remove(tag)
            }
        }
        deleteAbandoned()
        link.withLock { link in
            link?.subscription.cancel()
            link = nil
        }
    }

    /// Waits for messages and returns them, those of one tag in the stream's order. Blocks.
    ///
    /// - Returns: Nothing when `deadline` has passed, when ``wake()`` was called, or when a tag
    ///   has stopped at a discontinuity.
    package func next(until deadline: ContinuousClock.Instant) -> [BusMessage] {
        while true {
            let mail = takeMail()
            let haltedBefore = state.withLock { $0.statistics.halted }
            let messages = read(mail)
            if connector.isConnected, let link = renewLink() {
                deleteAbandoned()
                act(on: link)
            }
            let hasHalted = state.withLock { $0.statistics.halted } > haltedBefore
            if !messages.isEmpty || hasHalted || mail.hasNews || ContinuousClock.now >= deadline {
                return messages
            }
            waitForMail(until: min(deadline, nextCheck() ?? deadline))
        }
    }
}

// MARK: - Mail

extension StreamReader {
    /// Two requests of a tag can be open when one was believed lost; statuses come on top.
    private func boundMailbox() {
        let tagCount = state.withLock { $0.entries.count }
        let statusesPerTag = 64
        mailbox.update { mailbox in
            mailbox.bound = (tagCount + 1) * (2 * settings.messagesPerRequest + statusesPerTag)
            mailbox.hasNews = true
        }
    }

    private func takeMail() -> Mailbox {
        mailbox.withLock { mailbox in
            let taken = mailbox
            mailbox.messages.removeAll()
            mailbox.unaskedCount = 0
            mailbox.hasLostConnection = false
            mailbox.hasNews = false
            return taken
        }
    }

    private func waitForMail(until deadline: ContinuousClock.Instant) {
        _ = mailbox.wait(until: deadline) { mailbox in
            mailbox.messages.isEmpty && !mailbox.hasNews && !mailbox.hasLostConnection
                ? nil : true
        }
    }

    /// Runs on libnats's delivery thread.
    private static func deliver(_ message: NATSMessage, _ mailbox: Monitor<Mailbox>) {
        mailbox.update { mailbox in
            if mailbox.messages.count < mailbox.bound {
                mailbox.messages.append(message)
            } else {
                mailbox.unaskedCount += 1
            }
        }
    }

    private func read(_ mail: Mailbox) -> [BusMessage] {
        let now = ContinuousClock.now
        var messages: [BusMessage] = []
        messages.reserveCapacity(mail.messages.count)
        let inbox = link.withLock { $0?.inbox } ?? ""
        for message in mail.messages {
            if let metadata = message.replySubject.flatMap(DeliveryMetadata.init(replySubject:)) {
                if let message = read(message, metadata, now: now) {
                    messages.append(message)
                }
            } else {
                readStatus(message, inbox: inbox, now: now)
            }
        }
        state.withLock { state in
            state.statistics.messagesUnasked += mail.unaskedCount
            if mail.hasLostConnection {
                state.connectionLost()
            } else {
                state.checkTime(now: now)
            }
        }
        return messages
    }

    private func read(
        _ message: NATSMessage, _ metadata: DeliveryMetadata, now: ContinuousClock.Instant
    ) -> BusMessage? {
        let tag = state.withLock { state in
            state.received(
                metadata, byteCount: message.payloadByteCount, stream: stream, now: now)
        }
        return tag.map { tag in
            BusMessage(
                tag: tag, streamSequence: metadata.streamSequence,
                consumerSequence: metadata.consumerSequence,
                timestampNanoseconds: metadata.timestampNanoseconds, message: message)
        }
    }

    private func readStatus(
        _ message: NATSMessage, inbox: String, now: ContinuousClock.Instant
    ) {
        let subject = message.subject
        let status = PullStatus(
            status: message.header("Status"), description: message.header("Description"),
            lastConsumerSequence: message.header("Nats-Last-Consumer"))
        state.withLock { state in
            guard subject.hasPrefix(inbox), let status, let token = AnswerToken(subject: subject)
            else {
                // The answer to a deletion is not worth reading.
                if subject != "\(inbox).\(deletionToken)" {
                    state.statistics.messagesUnreadable += 1
                }
                return
            }
            state.received(status, tag: token.lane, request: token.number, now: now)
        }
    }
}

// MARK: - Requests to the server

/// Where the answers to deletions go, which nobody reads.
private let deletionToken = "deleted"

extension StreamReader {
    private func nextCheck() -> ContinuousClock.Instant? {
        state.withLock { state in
            state.entries.values.compactMap(\.cursor.nextCheck).min()
        }
    }

    /// The present connection with our subscription on it.
    private func renewLink() -> Link? {
        guard let connection = connector.connection else { return nil }
        if let link = link.withLock({ $0 }), link.connection === connection {
            return link
        }
        let inbox = connection.makeInboxPrefix()
        // Fails only when the connection has closed meanwhile, which is an event of its own.
        let subscription = try? connection.subscribe("\(inbox).*") { [mailbox] message in
            Self.deliver(message, mailbox)
        }
        let renewed = subscription.map {
            Link(connection: connection, inbox: inbox, subscription: $0)
        }
        state.withLock { $0.connectionLost() }
        link.withLock { $0 = renewed }
        return renewed
    }

    private func act(on link: Link) {
        let tags = state.withLock { $0.entries.keys.sorted() }
        for tag in tags {
            // A new consumer can be asked at once.
            while let (identity, action) = state.withLock({ $0.nextAction(tag, now: .now) }) {
                switch action {
                case .create(let startSequence):
                    guard create(tag, identity, from: startSequence, on: link) else { return }
                case .pull(let consumer, let request):
                    pull(tag, consumer, request, on: link)
                }
            }
        }
    }

    /// - Returns: Whether the server answered; when it did not, others would wait in vain too.
    private func create(
        _ tag: Int, _ identity: UInt64, from startSequence: UInt64, on link: Link
    ) -> Bool {
        let name = "qoe-\(NATSInbox.randomName())"
        var configuration = ConsumerConfiguration(
            name: name, startSequence: startSequence, filterSubject: subjectOfTag(tag))
        configuration.inactiveThreshold = settings.inactiveThreshold
        do throws(NATSError) {
            let jetStream = JetStream(link.connection, timeout: settings.creationLimit)
            let found = try jetStream.stream(named: stream)
            let mayGoOn = state.withLock { state in
                state.streamFound(
                    createdNanoseconds: found.createdNanoseconds,
                    lastSequence: found.lastSequence, tag: tag, identity: identity)
            }
            guard mayGoOn else { return true }
            let created = try jetStream.createConsumer(configuration, onStream: stream)
            state.withLock { state in
                state.created(
                    consumer: created.name, pendingCount: created.pendingCount, tag: tag,
                    identity: identity, now: .now)
            }
            return true
        } catch {
            state.withLock { state in
                state.creationFailed(error, tag: tag, identity: identity, now: .now)
            }
            return error.jetStreamCode != nil
        }
    }

    private func pull(_ tag: Int, _ consumer: String, _ request: PullRequest, on link: Link) {
        let token = AnswerToken(lane: tag, number: request.number)
        // A failure shows as silence, or as the lost connection that caused it.
        try? link.connection.publish(
            body(of: request, serverMax: link.connection.maxPayloadBytes),
            to: "$JS.API.CONSUMER.MSG.NEXT.\(stream).\(consumer)",
            replyTo: "\(link.inbox).\(token)")
    }

    /// The request's JSON (nats-server ADR-13); times are nanoseconds.
    private func body(of request: PullRequest, serverMax: Int) -> [UInt8] {
        let expires = nanoseconds(settings.requestLimit)
        let heartbeat = nanoseconds(min(settings.idleHeartbeat, settings.requestLimit / 2))
        let headroom = 64 << 10
        let limit =
            request.isForOneLargeMessage
            ? #""batch":1"#
            : #""batch":\#(settings.messagesPerRequest),"max_bytes":"#
                + "\(max(settings.bytesPerRequest, serverMax + headroom))"
        return Array(#"{"expires":\#(expires),"idle_heartbeat":\#(heartbeat),\#(limit)}"#.utf8)
    }

    private func nanoseconds(_ duration: Duration) -> Int64 {
        let (seconds, attoseconds) = duration.components
        return seconds &* 1_000_000_000 &+ attoseconds / 1_000_000_000
    }

    private func deleteAbandoned() {
        let consumers = state.withLock { $0.takeAbandoned() }
        guard let link = link.withLock({ $0 }), link.connection.isConnected else { return }
        for consumer in consumers {
            try? link.connection.publish(
                [], to: "$JS.API.CONSUMER.DELETE.\(stream).\(consumer)",
                replyTo: "\(link.inbox).\(deletionToken)")
        }
    }
}

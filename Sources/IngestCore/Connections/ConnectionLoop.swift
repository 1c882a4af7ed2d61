internal import Bus
internal import EventParsing
internal import Gzip
internal import NIOCore
internal import OwnedThreads

/// What the connections of one event loop share. Used on that loop only.
final class ConnectionLoop {
    let eventLoop: any EventLoop
    let api: API
    let intake: EventIntake
    let answers = AnswerBytes()
    let log: AccessLogLane?

    private var connections: [ObjectIdentifier: ConnectionHandler] = [:]
    /// Have answers that are written and not flushed.
    private var unflushed: [ConnectionHandler] = []
    private var spareBodies: [ByteBuffer] = []
    private var spareInflaters: [GzipInflater] = []
    private var sweep: RepeatedTask?
    /// Itself, for what runs when outcomes were handled.
    private let state: NIOLoopBoundBox<ConnectionLoop?>
    private let hasEnded = Monitor(false)
    /// Outcomes of receipts, brought here from the publisher's thread.
    private let completions: CompletionQueue
    /// Was given something without being woken in this turn of the loop.
    private var sleepingPublisher: BlockPublisher?
    /// What it was given, bytes of bodies.
    private var sleepingByteCount = 0

    /// How often the deadlines of all connections are looked at.
    private static let sweepInterval = TimeAmount.milliseconds(100)
    /// Most buffers and inflaters that are kept for later requests.
    private static let sparesMax = 32
    /// A buffer that grew beyond this is not kept.
    private static let keptBodyBytesMax = 256 << 10

    init(_ eventLoop: any EventLoop, api: API, log: AccessLogLane?) {
        self.eventLoop = eventLoop
        self.api = api
        self.log = log
        intake = EventIntake(api)
        let state = NIOLoopBoundBox<ConnectionLoop?>(nil, eventLoop: eventLoop)
        completions = CompletionQueue { [hasEnded] queue in
            hasEnded.withLock { hasEnded in
                // Nobody is left to answer.
                guard !hasEnded else { return }
                eventLoop.execute {
                    queue.run()
                    state.value?.flushWritten()
                }
            }
        }
        self.state = state
        // Until `stop` these keep the loop's state alive.
        state.value = self
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        sweep = eventLoop.scheduleRepeatedTask(
            initialDelay: Self.sweepInterval, delay: Self.sweepInterval
        ) { _ in
            bound.value.lookAtTime()
        }
    }

    /// Ends the regular work; on the loop.
    func stop() {
        sweep?.cancel()
        hasEnded.withLock { $0 = true }
        state.value = nil
        log?.flush()
    }

    func add(_ connection: ConnectionHandler) {
        connections[ObjectIdentifier(connection)] = connection
    }

    func remove(_ connection: ConnectionHandler) {
        connections[ObjectIdentifier(connection)] = nil
    }

    /// A receipt whose outcome ``ConnectionHandler/settle(_:_:)`` gets.
    func receipt(for exchange: Exchange) -> PublishReceipt {
        let bound = NIOLoopBound(exchange, eventLoop: eventLoop)
        return PublishReceipt(on: completions) { outcome in
            let exchange = bound.value
            exchange.connection?.settle(exchange, outcome)
        }
    }

    /// Has the publisher woken once for all that is committed in this turn of the loop, or when it is much already.
    ///
    /// - Parameter byteCount: Of the body that was committed.
    func wakeLater(_ publisher: BlockPublisher, byteCount: Int) {
        sleepingByteCount += byteCount
        if sleepingByteCount >= Self.sleepingByteCountMax {
            sleepingByteCount = 0
            publisher.wake()
        }
        guard sleepingPublisher == nil else { return }
        sleepingPublisher = publisher
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        eventLoop.execute { bound.value.wakePublisher() }
    }

    private func wakePublisher() {
        if sleepingByteCount > 0 { sleepingPublisher?.wake() }
        sleepingPublisher = nil
        sleepingByteCount = 0
    }

    /// More than this does not wait for the end of a turn: the publisher works beside the loop meanwhile.
    private static let sleepingByteCountMax = 32 << 10

    /// Has the connection flushed when everything at hand is written.
    func flushLater(_ connection: ConnectionHandler) {
        unflushed.append(connection)
    }

    // MARK: - Reused memory

    func takeBody() -> ByteBuffer {
        spareBodies.popLast() ?? ByteBufferAllocator().buffer(capacity: Self.firstBodyBytes)
    }

    func giveBack(_ body: inout ByteBuffer) {
        if body.capacity <= Self.keptBodyBytesMax, spareBodies.count < Self.sparesMax {
            body.clear()
            spareBodies.append(body)
        }
        body = ByteBuffer()
    }

    func takeInflater() -> GzipInflater {
        spareInflaters.popLast()
            ?? GzipInflater(
                outputByteCountMax: api.configuration.inflatedBytesMax,
                ratioMax: api.configuration.inflationRatioMax)
    }

    func giveBack(_ inflater: GzipInflater) {
        guard spareInflaters.count < Self.sparesMax else { return }
        inflater.reset()
        spareInflaters.append(inflater)
    }

    private static let firstBodyBytes = 4096

    // MARK: - Regular work

    private func flushWritten() {
        let written = unflushed
        unflushed.removeAll(keepingCapacity: true)
        for connection in written { connection.flush() }
    }

    private func lookAtTime() {
        let now = NIODeadline.now()
        answers.renew(at: wallClockMilliseconds())
        // A copy: a connection that is closed takes itself out.
        for connection in Array(connections.values) { connection.lookAtTime(now) }
        log?.flush()
    }
}

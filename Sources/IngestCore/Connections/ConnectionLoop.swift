internal import Bus
internal import EventParsing
internal import Gzip
internal import NIOCore

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
    /// Nil only while it is made.
    private var receipts: SettledReceipts?

    /// How often the deadlines of all connections are looked at.
    private static let sweepInterval = TimeAmount.milliseconds(100)
    /// Most buffers and inflaters that are kept for later requests.
    private static let sparesMax = 64
    /// A buffer that grew beyond this is not kept.
    private static let keptBodyBytesMax = 1 << 20

    init(_ eventLoop: any EventLoop, api: API, log: AccessLogLane?) {
        self.eventLoop = eventLoop
        self.api = api
        self.log = log
        intake = EventIntake(api)
        eventLoop.assertInEventLoop()
        receipts = SettledReceipts(eventLoop, receiver: NIOLoopBound(self, eventLoop: eventLoop))
        // Until `stop`, this and the receipts keep the loop's state alive.
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
        receipts?.stop()
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
        guard let receipts else { preconditionFailure("a loop that is not made yet") }
        let bound = NIOLoopBound(exchange, eventLoop: eventLoop)
        return PublishReceipt { outcome in
            receipts.add(.init(exchange: bound, outcome: outcome))
        }
    }

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

    /// Answers what has become durable, or could not.
    func settle(_ all: [SettledReceipts.Settled]) {
        for one in all {
            let exchange = one.exchange.value
            exchange.connection?.settle(exchange, one.outcome)
        }
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

internal import Bus
internal import CoreMetrics
internal import EventParsing
internal import Failpoints
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import ServiceKit

/// Serves the requests of one connection, one after the other, in the order in which they come.
///
/// Behind NIO's pipeline handler, which lets the next request wait until the present one has its answer. All
/// of it runs on the connection's event loop.
final class ConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    /// A request whose body is wanted.
    private struct Request {
        let route: Route
        let scope: ClientScope
        let form: EventParser.Form
    }

    private enum Phase {
        /// For a request's head.
        case waiting
        /// The body's parts are gathered.
        case receiving(Request)
        /// The body is read and dropped, so that the answer finds a client that listens.
        case dropping(Answer)
        /// The blocks are on their way.
        case publishing
        /// Answered for the last time; what the client still sends is dropped until it closes.
        case ending
    }

    private let api: API
    private let intake: EventIntake
    private var phase = Phase.waiting
    private var route = Route.other
    /// The answer's connection header and protocol version depend on it.
    private var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "")
    private var body = ByteBuffer()
    private var receivedByteCount = 0
    /// Counted in the bounds and not yet given back.
    private var heldByteCount = 0
    /// When the present phase must be over.
    private var deadline = NIODeadline.distantFuture
    private var timer: Scheduled<Void>?

    /// How long a client that was answered for the last time may take to close.
    private static let endingLimit = TimeAmount.seconds(2)
    /// A buffer that grew beyond this is not kept for the next request.
    private static let keptBufferByteCountMax = 64 << 10

    init(api: API, intake: EventIntake) {
        self.api = api
        self.intake = intake
    }

    // MARK: - Events of the channel

    func handlerAdded(context: ChannelHandlerContext) {
        deadline = .now() + api.idleTimeout
        arm(context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
        releaseBytes()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch (unwrapInboundIn(data), phase) {
        case (.head(let head), .waiting):
            begin(head, context)
        case (.body(let part), .receiving):
            receive(part, context)
        case (.body(let part), .dropping(let answer)):
            receivedByteCount += part.readableBytes
            if receivedByteCount > api.bodyBytesMax { end(with: answer, context) }
        case (.end, .receiving(let request)):
            process(request, context)
        case (.end, .dropping(let answer)):
            send(answer, context)
        default:
            // Behind the last answer.
            break
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event {
            // A client that closes its side behind a whole request still reads the answer.
            if case .publishing = phase {
                head.headers.replaceOrAdd(name: "Connection", value: "close")
            } else {
                context.close(promise: nil)
            }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        api.metrics.connectionErrors.increment()
        switch (error as? HTTPParserError, phase) {
        case (let error?, .waiting), (let error?, .receiving), (let error?, .dropping):
            // NIO's decoder closes the connection when this returns.
            let isTooLarge = error == .headerOverflow
            end(
                with: isTooLarge
                    ? .closing(.headersTooLarge, "the request's head is too large")
                    : .closing(.invalidRequest, "the request is not HTTP/1.1"),
                context)
        default:
            context.close(promise: nil)
        }
    }

    // MARK: - A request

    private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        self.head = head
        route = Route(uri: head.uri)
        receivedByteCount = 0
        body.clear()
        deadline = .now() + api.requestTimeout
        switch api.admit(head, route) {
        case .refused(let answer) where answer.closes || expectsContinue:
            // Whether a client that waits for 100 sends its body after all is not known: what follows
            // cannot be told from a new request.
            end(with: answer, context)
        case .refused(let answer):
            phase = .dropping(answer)
        case .admitted(let scope, let form):
            failpoint(.ingestHeadersRead)
            phase = .receiving(Request(route: route, scope: scope, form: form))
            if let text = head.headers.first(name: "content-length"), let count = Int(text) {
                body.reserveCapacity(
                    min(count, api.bodyBytesMax) + EventParser.paddingByteCount)
            }
            if expectsContinue { sendContinue(context) }
        }
    }

    private var expectsContinue: Bool {
        head.headers.first(name: "expect")?.lowercased() == "100-continue"
    }

    private func receive(_ part: ByteBuffer, _ context: ChannelHandlerContext) {
        let count = part.readableBytes
        receivedByteCount += count
        guard receivedByteCount <= api.bodyBytesMax else {
            end(with: api.tooLarge, context)
            return
        }
        guard api.bounds.addBytes(count) else {
            var answer = Answer.unavailable("too many bytes wait to be stored")
            answer.closes = true
            end(with: answer, context)
            return
        }
        heldByteCount += count
        var part = part
        body.writeBuffer(&part)
    }

    private func process(_ request: Request, _ context: ChannelHandlerContext) {
        failpoint(.ingestBodyRead)
        api.metrics.countBody(byteCount: receivedByteCount)
        guard let publisher = api.link.publisher else {
            send(.unavailable("NATS is not reachable"), context)
            return
        }
        let now = wallClockMilliseconds()
        let start = ContinuousClock.now
        let published = context.eventLoop.makePromise(of: Void.self)
        let receipt = PublishReceipt { published.completeWith($0.mapError { $0 as any Error }) }
        // From here on the body is needed no more: the blocks have copies.
        do throws(EventRejection) {
            switch request.route {
            case .heartbeats:
                try intake.postHeartbeat(
                    &body, scope: request.scope, receivedAtMilliseconds: now,
                    sourceAddress: context.remoteAddress?.ipAddress, to: publisher,
                    receipt: receipt)
                answer(published, context) { [metrics = api.metrics] in
                    metrics.countDurableHeartbeat(after: .now - start)
                    return .heartbeat(receivedAtMilliseconds: now)
                }
            default:
                let outcome = try intake.post(
                    &body, as: request.form, scope: request.scope, receivedAtMilliseconds: now,
                    to: publisher, receipt: receipt)
                for (_, rejection) in outcome.rejected {
                    api.metrics.countRejection(rejection.code)
                }
                if outcome.acceptedCount > 0 { failpoint(.ingestEnqueued) }
                if outcome.acceptedCount == 0 {
                    published.succeed()
                    send(Answer(outcome, receivedAtMilliseconds: now), context)
                    return
                }
                answer(published, context) { [metrics = api.metrics] in
                    metrics.countDurable(
                        eventCount: outcome.acceptedCount, after: .now - start)
                    return Answer(outcome, receivedAtMilliseconds: now)
                }
            }
        } catch {
            published.succeed()
            api.metrics.countRejection(error.code)
            send(Answer(error), context)
        }
    }

    /// Answers when everything is durable, or says that it is not.
    private func answer(
        _ published: EventLoopPromise<Void>, _ context: ChannelHandlerContext,
        _ makeAnswer: @escaping () -> Answer
    ) {
        phase = .publishing
        // The publisher has its own time limit.
        deadline = .distantFuture
        published.futureResult.assumeIsolated().whenComplete { [self] result in
            switch result {
            case .success:
                send(makeAnswer(), context)
            case .failure(let error):
                api.metrics.countPublishFailure()
                api.logger.debug("a request could not be stored: \(error)")
                send(.unavailable("the events could not be stored"), context)
            }
        }
    }

    // MARK: - Answers

    private func sendContinue(_ context: ChannelHandlerContext) {
        let interim = HTTPResponseHead(version: head.version, status: .continue)
        context.writeAndFlush(wrapOutboundOut(.head(interim)), promise: nil)
    }

    /// Sends the last answer of the connection.
    private func end(with answer: Answer, _ context: ChannelHandlerContext) {
        var last = answer
        last.closes = true
        send(last, context)
    }

    private func send(_ answer: Answer, _ context: ChannelHandlerContext) {
        releaseBytes()
        guard context.channel.isActive else { return }
        api.metrics.countAnswer(route, status: answer.status.code)
        let closes = answer.closes || !head.isKeepAlive
        var headers = HTTPHeaders()
        headers.add(name: "Content-Type", value: "application/json")
        headers.add(name: "Content-Length", value: "\(answer.body.utf8.count)")
        for (name, value) in answer.headers { headers.add(name: name, value: value) }
        if closes {
            headers.add(name: "Connection", value: "close")
        } else if head.version.minor < 1 {
            headers.add(name: "Connection", value: "keep-alive")
        }
        let response = HTTPResponseHead(
            version: head.version, status: answer.status, headers: headers)
        context.write(wrapOutboundOut(.head(response)), promise: nil)
        if head.method != .HEAD {
            let bytes = context.channel.allocator.buffer(string: answer.body)
            context.write(wrapOutboundOut(.body(.byteBuffer(bytes))), promise: nil)
        }
        // The pipeline handler delivers the next request inside this call.
        phase = closes ? .ending : .waiting
        deadline = .now() + (closes ? Self.endingLimit : api.idleTimeout)
        let sent = context.writeAndFlush(wrapOutboundOut(.end(nil)))
        // What a loop writes and flushes is in the kernel by now, unless the client reads slowly.
        if answer.status == .accepted { failpoint(.ingestAnswerWritten) }
        guard closes else { return }
        // Closing both directions with bytes unread would make the kernel reset the connection, and
        // the client might never see the answer.
        sent.assumeIsolated().whenComplete { _ in
            context.close(mode: .output, promise: nil)
        }
    }

    private func releaseBytes() {
        api.bounds.removeBytes(heldByteCount)
        heldByteCount = 0
        if body.capacity > Self.keptBufferByteCountMax { body = ByteBuffer() }
    }

    // MARK: - Time

    /// Looks at the deadline in regular steps: cheaper than a timer for every phase of every request.
    private func arm(_ context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated()
            .scheduleTask(in: api.deadlineStep) { [self] in
                guard context.channel.isActive else { return }
                if NIODeadline.now() >= deadline { expire(context) }
                arm(context)
            }
    }

    private func expire(_ context: ChannelHandlerContext) {
        switch phase {
        case .waiting, .ending:
            context.close(promise: nil)
        case .receiving, .dropping:
            api.metrics.connectionErrors.increment()
            end(
                with: .closing(.requestTimeout, "the request took too long to arrive"), context)
        case .publishing:
            break
        }
    }
}

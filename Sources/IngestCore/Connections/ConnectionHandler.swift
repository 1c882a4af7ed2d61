internal import Bus
internal import CoreMetrics
internal import EventParsing
internal import Failpoints
internal import Gzip
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import NIOSSL
internal import NIOTLS

/// Serves the requests of one connection and answers them in their order.
///
/// Requests that a client sends without waiting (pipelining) are served at the same time; only the answers wait for
/// each other. All of it runs on the connection's event loop, behind NIO's HTTP decoder; answers are written as bytes.
final class ConnectionHandler: ChannelInboundHandler, ChannelOutboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// A request whose body is wanted.
    private struct Request {
        let exchange: Exchange
        let caller: Caller
        let form: EventParser.Form
        let isCompressed: Bool
    }

    /// What the next bytes of the client are.
    private enum Expected {
        case head
        case body(Request)
        /// Of a request that is refused: read and dropped, so that the answer finds a client that listens.
        case restOfBody(Exchange, Answer)
        /// Behind the last request. What the client still sends is dropped until it closes.
        case nothing
    }

    private let api: API
    private let loop: ConnectionLoop
    /// Counts the bytes on their way to the decoder.
    private let arrivals: ArrivalCounter
    private var context: ChannelHandlerContext?
    /// Of the client; kept, since a connection that has ended has none.
    private var address: SocketAddress?
    private var expected = Expected.head
    /// Without an answer, or with one that waits for those before it.
    private var pending = CircularBuffer<Exchange>()
    private var requestCount = 0
    private var body = ByteBuffer()
    private var inflater: GzipInflater?
    private var identity: ConnectionIdentity
    /// The client waits for 100 before it sends the body.
    private var owesContinue = false
    private var isDraining = false
    private var isReadHeld = false
    private var needsFlush = false
    private var isInChannelRead = false
    /// Whether TLS has still to be agreed on.
    private var isHandshaking: Bool

    /// When the present wait began: for a head, a body, or the client to close.
    private var waitsSince = NIODeadline.now()
    private var unwritableSince: NIODeadline?
    /// Whether the answer to the last request is written.
    private var isEnding = false
    /// Whether all that was written has left, and the client has but to close.
    private var isOutputClosed = false
    /// Whether nothing is served any more: over TLS the connection may outlast this for a moment.
    private var isCut = false

    /// How long a client that was answered for the last time may take to close.
    private static let endingLimit = TimeAmount.seconds(2)
    /// A body may be slow for so long before its rate counts.
    private static let slowBodyGrace = TimeAmount.seconds(5)
    /// Requests of one connection that are served at the same time; then it is read no further.
    private static let pipelinedMax = 64
    /// What a body may come with beside its bytes, before that counts: one read may hold other requests.
    private static let overheadFreeBytes = 128 << 10
    /// Bytes on the wire for each byte of a body: the smallest chunks need 6.
    private static let overheadRatioMax = 16

    init(loop: ConnectionLoop, arrivals: ArrivalCounter, isSecured: Bool) {
        api = loop.api
        isHandshaking = isSecured
        self.loop = loop
        self.arrivals = arrivals
        identity = loop.api.newIdentity()
    }

    // MARK: - Events of the channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        address = context.remoteAddress
        loop.add(self)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        leave()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        leave()
        context.fireChannelInactive()
    }

    private func leave() {
        loop.remove(self)
        for exchange in pending {
            api.metrics.requestsAbandoned.increment()
            loop.log?.addAbandoned(exchange, from: address)
            release(exchange)
        }
        pending.removeAll()
        stopServing()
    }

    private func stopServing() {
        isCut = true
        if case .body = expected { dropBody() }
        expected = .nothing
    }

    /// From outside, as when draining takes too long.
    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if mode == .all { stopServing() }
        context.close(mode: mode, promise: promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        isInChannelRead = true
        switch (unwrapInboundIn(data), expected) {
        case (.head(let head), .head):
            begin(head)
        case (.body(let part), .body(let request)):
            receive(part, request)
        case (.body(let part), .restOfBody(let exchange, let answer)):
            exchange.receivedByteCount += part.readableBytes
            if exchange.receivedByteCount > api.configuration.bodyBytesMax {
                end(exchange, with: answer)
            }
        case (.end, .body(let request)):
            expectNext(behind: request.exchange)
            process(request)
        case (.end, .restOfBody(let exchange, let answer)):
            expectNext(behind: exchange)
            finish(exchange, with: answer)
        default:
            break
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isInChannelRead = false
        lookAtOverhead()
        flush()
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        if pending.count < Self.pipelinedMax, context.channel.isWritable {
            context.read()
        } else {
            isReadHeld = true
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        unwritableSince = context.channel.isWritable ? nil : .now()
        releaseRead()
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed:
            // A client that closes its side behind a whole request still reads the answers.
            if case .head = expected, let last = pending.last {
                last.keepsAlive = false
                expected = .nothing
            } else if pending.isEmpty || !isBehindLastRequest {
                cut(context)
            }
        case is ChannelShouldQuiesceEvent:
            drain()
        case TLSUserEvent.handshakeCompleted:
            isHandshaking = false
            waitsSince = .now()
            let certificate = try? context.channel.pipeline.syncOperations.nioSSL_peerCertificate()
            identity.certificate = certificate.flatMap {
                CertificateIdentity.caller($0, limits: api.configuration.tokenLimits)
            }
        default:
            break
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // What comes behind an error of the decoder, which is being answered.
        if case .dataReceivedInErrorState = error as? ByteToMessageDecoderError { return }
        guard let error = error as? HTTPParserError else {
            if !isCut, let reason = Self.reason(of: error) { api.metrics.countClosed(reason) }
            cut(context)
            return
        }
        // Refused already, or behind the last request.
        if case .nothing = expected { return }
        api.metrics.countClosed(.malformed)
        // The decoder says no more, and what comes is no request.
        let isTooLarge = error == .headerOverflow
        endInput(
            with: isTooLarge
                ? .closing(.headersTooLarge, "the request's head is too large")
                : .closing(.invalidRequest, "the request is not HTTP/1.1"))
        flush()
    }

    /// Why an error ends the connection; nil when many clients end theirs like that.
    private static func reason(of error: any Error) -> ClosingReason? {
        if error is BoringSSLError { return .tls }
        guard let error = error as? NIOSSLError else { return .failed }
        // Without the last words that TLS asks for.
        if case .uncleanShutdown = error { return nil }
        return .tls
    }

    private var isBehindLastRequest: Bool {
        if case .nothing = expected { true } else { false }
    }

    /// Answers what is under way and closes then; at once when nothing is.
    private func drain() {
        isDraining = true
        guard case .head = expected else { return }
        if let last = pending.last {
            last.keepsAlive = false
            expected = .nothing
        } else if !arrivals.hasBytesSinceMark, let context {
            cut(context)
        }
    }

    // MARK: - A request

    private func begin(_ head: HTTPRequestHead) {
        let now = NIODeadline.now()
        waitsSince = now
        requestCount += 1
        let exchange = Exchange(head, route: Route(uri: head.uri), at: now, on: self)
        exchange.arrivedByteCount = arrivals.byteCount
        if isDraining || requestCount >= api.configuration.requestsPerConnectionMax {
            exchange.keepsAlive = false
        }
        pending.append(exchange)
        // An older client that says so means something else (RFC 9110, section 10.1.1).
        let expectsContinue =
            head.version.minor >= 1
            && head.headers.first(name: "expect").map { withoutBlanks($0).lowercased() }
                == "100-continue"
        switch api.admit(head, exchange.route, identity: &identity, at: now) {
        case .refused(let answer) where answer.closes || expectsContinue:
            // Whether a client that waits for 100 sends its body after all is not known: what follows
            // cannot be told from a new request.
            end(exchange, with: answer)
        case .refused(let answer):
            exchange.caller = identity.caller
            expected = .restOfBody(exchange, answer)
        case .admitted(let caller, let form, let isCompressed):
            failpoint(.ingestHeadersRead)
            exchange.caller = caller
            expected = .body(
                Request(
                    exchange: exchange, caller: caller, form: form, isCompressed: isCompressed))
            body = loop.takeBody()
            if isCompressed { inflater = loop.takeInflater() }
            if expectsContinue {
                owesContinue = true
                sendContinue()
            }
        }
    }

    private func receive(_ part: ByteBuffer, _ request: Request) {
        let exchange = request.exchange
        owesContinue = false
        exchange.receivedByteCount += part.readableBytes
        guard exchange.receivedByteCount <= api.configuration.bodyBytesMax else {
            end(exchange, with: api.refuseTooLarge())
            return
        }
        let before = body.readableBytes
        if let inflater {
            do throws(GzipInflater.Failure) {
                try part.withUnsafeReadableBytes { bytes throws(GzipInflater.Failure) in
                    try inflater.inflate(bytes) { body.writeBytes($0) }
                }
            } catch {
                end(exchange, with: api.refuse(error))
                return
            }
        } else {
            var part = part
            body.writeBuffer(&part)
        }
        let count = body.readableBytes - before
        guard api.bounds.addBytes(count) else {
            api.metrics.countRejection(.serviceUnavailable)
            var answer = Answer.unavailable("too many bytes wait to be stored")
            answer.closes = true
            end(exchange, with: answer)
            return
        }
        exchange.heldByteCount += count
    }

    private func process(_ request: Request) {
        let exchange = request.exchange
        failpoint(.ingestBodyRead)
        defer { dropBody() }
        api.metrics.countBody(byteCount: exchange.receivedByteCount)
        if let inflater {
            do throws(GzipInflater.Failure) {
                try inflater.finish()
            } catch {
                end(exchange, with: api.refuse(error))
                return
            }
        }
        guard let publisher = api.link.publisher else {
            api.metrics.countRejection(.serviceUnavailable)
            finish(exchange, with: .unavailable("NATS is not reachable"))
            return
        }
        let post = Post(
            caller: request.caller, headReadAtMicroseconds: exchange.headReadAtMicroseconds,
            receivedAtMilliseconds: wallClockMilliseconds(), endedAt: .now(),
            byteCount: exchange.receivedByteCount, publisher: publisher,
            receipt: loop.receipt(for: exchange))
        let result =
            exchange.route == .heartbeats
            ? loop.intake.postHeartbeat(&body, post, from: address?.ipAddress)
            : loop.intake.post(&body, as: request.form, post)
        exchange.client = result.client
        switch result.step {
        case .refused(let answer): finish(exchange, with: answer)
        case .published(let whenStored):
            exchange.whenStored = whenStored
            loop.wakeLater(publisher, byteCount: exchange.heldByteCount)
        }
    }

    /// Everything of an exchange is durable, or is not.
    func settle(_ exchange: Exchange, _ outcome: PublishReceipt.Outcome) {
        // It may have been refused after all, which commits its receipt as well.
        guard exchange.answer == nil, let whenStored = exchange.whenStored else { return }
        switch outcome {
        case .success:
            finish(exchange, with: whenStored())
        case .failure(let error):
            api.metrics.countPublishFailure()
            api.metrics.countRejection(.serviceUnavailable)
            api.logger.debug("a request could not be stored: \(error)")
            finish(exchange, with: .unavailable("the events could not be stored"))
        }
    }

    /// The request is whole. Behind a last one nothing is served: its answer says that the connection ends.
    private func expectNext(behind exchange: Exchange) {
        expected = exchange.keepsAlive ? .head : .nothing
        waitsSince = .now()
        arrivals.mark()
    }

    private func dropBody() {
        loop.giveBack(&body)
        if let inflater { loop.giveBack(inflater) }
        inflater = nil
    }

    // MARK: - Answers

    /// Answers the exchange that is being received and takes no further request.
    private func end(_ exchange: Exchange, with answer: Answer) {
        if case .body = expected { dropBody() }
        exchange.keepsAlive = false
        expected = .nothing
        waitsSince = .now()
        finish(exchange, with: answer)
    }

    /// Answers what cannot be read as a request, behind all that could.
    private func endInput(with answer: Answer) {
        if let code = answer.code { api.metrics.countRejection(code) }
        switch expected {
        case .head:
            let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "")
            let exchange = Exchange(head, route: .other, at: .now(), on: self)
            pending.append(exchange)
            end(exchange, with: answer)
        case .body(let request): end(request.exchange, with: answer)
        case .restOfBody(let exchange, _): end(exchange, with: answer)
        case .nothing:
            break
        }
    }

    private func finish(_ exchange: Exchange, with answer: Answer) {
        exchange.answer = answer
        release(exchange)
        if isDraining, pending.last === exchange {
            exchange.keepsAlive = false
            expected = .nothing
        }
        writeAnswers()
    }

    /// Gives back what the exchange holds, which its answer does not need.
    private func release(_ exchange: Exchange) {
        api.bounds.removeBytes(exchange.heldByteCount)
        exchange.heldByteCount = 0
        exchange.leave()
    }

    private func writeAnswers() {
        guard let context, context.channel.isActive, !isCut else { return }
        while let exchange = pending.first, let answer = exchange.answer {
            pending.removeFirst()
            let closes = answer.closes || !exchange.keepsAlive
            var bytes = context.channel.allocator.buffer(capacity: Self.answerBytesUsual)
            let count = loop.answers.write(
                answer, closes: closes, isHTTP10: exchange.head.version.minor < 1,
                isHEAD: exchange.isHEAD, to: &bytes)
            context.write(wrapOutboundOut(bytes), promise: nil)
            api.metrics.countAnswer(exchange.route, status: answer.status.code)
            loop.log?.add(exchange, answer, answerByteCount: count, from: address)
            waitsSince = .now()
            scheduleFlush()
            if answer.status == .accepted { failpoint(.ingestAnswerWritten) { flush() } }
            if closes {
                close()
                return
            }
        }
        if owesContinue { sendContinue() }
        releaseRead()
    }

    private static let answerBytesUsual = 256

    /// Ends the connection behind what is written.
    private func close() {
        guard let context else { return }
        for exchange in pending { release(exchange) }
        pending.removeAll()
        expected = .nothing
        isEnding = true
        needsFlush = false
        // Closing both directions with bytes unread would make the kernel reset the connection, and
        // the client might never see the answer.
        context.writeAndFlush(wrapOutboundOut(ByteBuffer())).assumeIsolated().whenComplete { _ in
            self.isOutputClosed = true
            self.waitsSince = .now()
            context.close(mode: .output, promise: nil)
        }
        // For the same reason: a client that sent much ahead has bytes waiting.
        releaseRead()
    }

    private func sendContinue() {
        guard pending.count == 1, let context else { return }
        owesContinue = false
        var bytes = ByteBuffer()
        bytes.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
        context.write(wrapOutboundOut(bytes), promise: nil)
        scheduleFlush()
    }

    private func scheduleFlush() {
        guard !needsFlush else { return }
        needsFlush = true
        if !isInChannelRead { loop.flushLater(self) }
    }

    func flush() {
        guard needsFlush else { return }
        needsFlush = false
        context?.flush()
    }

    private func releaseRead() {
        guard isReadHeld, let context, pending.count < Self.pipelinedMax,
            context.channel.isWritable
        else { return }
        isReadHeld = false
        // The client was not the one who was slow.
        waitsSince = .now()
        arrivals.restart()
        context.read()
    }

    // MARK: - Time

    /// Ends what takes too long.
    func lookAtTime(_ now: NIODeadline) {
        guard let context, context.channel.isActive, !isCut else { return }
        let waited = now - waitsSince
        if let unwritableSince, now - unwritableSince > api.requestTimeout {
            close(context, .slowReader)
        } else if isOutputClosed {
            if waited > Self.endingLimit { cut(context) }
        } else if isEnding {
            if waited > api.requestTimeout { close(context, .slowReader) }
        } else if !isReadHeld {
            lookAtInput(waited, context)
        }
        flush()
    }

    private func lookAtInput(_ waited: TimeAmount, _ context: ChannelHandlerContext) {
        switch expected {
        case .head where isHandshaking:
            if waited > api.headerTimeout { close(context, .tls) }
        case .head:
            if arrivals.hasBytesSinceMark {
                let since = NIODeadline.now() - arrivals.firstSinceMark
                guard since > api.headerTimeout else { return }
                api.metrics.countClosed(.slowHead)
                endInput(with: .closing(.requestTimeout, "the request's head took too long"))
            } else if pending.isEmpty, waited > api.idleTimeout {
                close(context, .idle)
            }
        case .body(let request):
            lookAtBody(request.exchange, waited)
        case .restOfBody(let exchange, _):
            lookAtBody(exchange, waited)
        case .nothing:
            break
        }
    }

    private func lookAtBody(_ exchange: Exchange, _ waited: TimeAmount) {
        let isLate = waited > api.requestTimeout
        let wanted =
            Double(waited.nanoseconds) / 1e9 * Double(api.configuration.bodyBytesPerSecondMin)
        let isSlow = waited > Self.slowBodyGrace && Double(exchange.receivedByteCount) < wanted
        guard isLate || isSlow else { return }
        api.metrics.countClosed(.slowBody)
        api.metrics.countRejection(.requestTimeout)
        end(exchange, with: .closing(.requestTimeout, "the request took too long to arrive"))
    }

    /// Ends a body whose chunks are mostly extensions or trailers, which no bound of the body's length would end.
    private func lookAtOverhead() {
        let exchange: Exchange
        switch expected {
        case .body(let request): exchange = request.exchange
        case .restOfBody(let refused, _): exchange = refused
        case .head, .nothing: return
        }
        let bytes = arrivals.byteCount - exchange.arrivedByteCount
        guard
            bytes - Self.overheadFreeBytes > exchange.receivedByteCount * Self.overheadRatioMax
        else { return }
        api.metrics.countClosed(.malformed)
        api.metrics.countRejection(.invalidRequest)
        end(
            exchange,
            with: .closing(.invalidRequest, "the request's chunks hold too little of its body"))
    }

    private func close(_ context: ChannelHandlerContext, _ reason: ClosingReason) {
        api.metrics.countClosed(reason)
        cut(context)
    }

    private func cut(_ context: ChannelHandlerContext) {
        stopServing()
        context.close(promise: nil)
    }
}

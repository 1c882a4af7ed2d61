internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
internal import ServiceLifecycle

/// The HTTP server for `/health`, `/ready` and `/metrics`: one thread, bounded in every way.
package final class MetricsServer: Service {
    /// Connections open at once; more are closed as soon as they are accepted.
    static let connectionLimit = 64
    /// How long a connection may be idle, or take to send a request.
    static let idleLimit = TimeAmount.seconds(30)
    /// The most bytes of a request's head and, separately, of its ignored body.
    static let requestLimit = 16 << 10

    /// Where it listens, with the real port.
    package let address: NetworkAddress
    private let group: MultiThreadedEventLoopGroup
    private let channel: any Channel

    private init(
        address: NetworkAddress, group: MultiThreadedEventLoopGroup, channel: any Channel
    ) {
        self.address = address
        self.group = group
        self.channel = channel
    }

    /// Binds and begins to answer, before ``run()`` is called.
    ///
    /// - Throws: ``ProgramFailure`` naming the address and what to do.
    package static func start(
        on address: NetworkAddress, setting: String, health: HealthRegistry,
        metrics: PrometheusRegistry
    ) async throws -> MetricsServer {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        do {
            let connections = ConnectionCount(limit: connectionLimit)
            let channel = try await ServerBootstrap(group: group)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .serverChannelOption(.backlog, value: 128)
                .childChannelInitializer { channel in
                    guard connections.add() else { return channel.close() }
                    channel.closeFuture.whenComplete { _ in connections.remove() }
                    return channel.eventLoop.makeCompletedFuture {
                        try configure(channel, health: health, metrics: metrics)
                    }
                }
                .bind(host: address.host, port: address.port).get()
            let port = channel.localAddress?.port ?? address.port
            return MetricsServer(
                address: NetworkAddress(host: address.host, port: port), group: group,
                channel: channel)
        } catch {
            try? await group.shutdownGracefully()
            throw ProgramFailure.cannotListen(on: address, setting: setting, cause: error)
        }
    }

    /// Serves until a graceful shutdown, then closes every connection.
    package func run() async throws {
        try? await gracefulShutdown()
        await stop()
    }

    /// Stops listening, closes every connection and ends the thread.
    package func stop() async {
        try? await channel.close()
        try? await group.shutdownGracefully()
    }

    private static func configure(
        _ channel: any Channel, health: HealthRegistry, metrics: PrometheusRegistry
    ) throws {
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(IdleStateHandler(allTimeout: idleLimit))
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderListSize = requestLimit
        limits.maxHeaderFieldSize = requestLimit
        try pipeline.configureHTTPServerPipeline(
            withEncoderConfiguration: .init(), withDecoderLimitConfiguration: limits)
        try pipeline.addHandler(MetricsHandler(health: health, metrics: metrics))
    }
}

/// Counts open connections. Used on the server's one event loop and its channels' only.
private final class ConnectionCount: Sendable {
    private let limit: Int
    private let count = CounterSeries()

    init(limit: Int) { self.limit = limit }

    /// False if there are too many; nothing is added then.
    func add() -> Bool {
        guard count.value < limit else { return false }
        count.increment(by: 1)
        return true
    }

    func remove() { count.increment(by: -1) }
}

/// Answers the three paths; everything else is 404, and every method but GET and HEAD is 405.
private final class MetricsHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let health: HealthRegistry
    private let metrics: PrometheusRegistry
    private var head: HTTPRequestHead?
    private var bodyLength = 0

    init(health: HealthRegistry, metrics: PrometheusRegistry) {
        self.health = health
        self.metrics = metrics
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            bodyLength = 0
        case .body(let part):
            bodyLength += part.readableBytes
            // Nobody has a reason to send a body here.
            if bodyLength > MetricsServer.requestLimit { context.close(promise: nil) }
        case .end:
            guard let head else { return }
            self.head = nil
            answer(head, context: context)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent {
            context.close(promise: nil)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func answer(_ request: HTTPRequestHead, context: ChannelHandlerContext) {
        let path = request.uri.prefix { $0 != "?" }
        guard ["/health", "/ready", "/metrics"].contains(path) else {
            let body = "Not found. There are /health, /ready and /metrics.\n"
            send(.notFound, "text/plain", body, to: request, context)
            return
        }
        guard request.method == .GET || request.method == .HEAD else {
            send(.methodNotAllowed, "text/plain", "Only GET and HEAD.\n", to: request, context)
            return
        }
        switch path {
        case "/metrics":
            send(.ok, PrometheusText.contentType, metrics.render(), to: request, context)
        case "/ready":
            let response = health.readiness()
            let status = HTTPResponseStatus(statusCode: response.status)
            send(status, HealthResponse.contentType, response.body, to: request, context)
        default:
            let response = health.liveness()
            let status = HTTPResponseStatus(statusCode: response.status)
            send(status, HealthResponse.contentType, response.body, to: request, context)
        }
    }

    private func send(
        _ status: HTTPResponseStatus, _ type: String, _ body: String,
        to request: HTTPRequestHead, _ context: ChannelHandlerContext
    ) {
        var headers = HTTPHeaders()
        headers.add(name: "Content-Type", value: type)
        headers.add(name: "Content-Length", value: "\(body.utf8.count)")
        headers.add(name: "Cache-Control", value: "no-store")
        if status == .methodNotAllowed { headers.add(name: "Allow", value: "GET, HEAD") }
        if !request.isKeepAlive { headers.add(name: "Connection", value: "close") }
        let head = HTTPResponseHead(version: request.version, status: status, headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if request.method != .HEAD {
            let buffer = context.channel.allocator.buffer(string: body)
            context.write(wrapOutboundOut(.body(.byteBuffer(buffer))), promise: nil)
        }
        let sent = context.writeAndFlush(wrapOutboundOut(.end(nil)))
        if !request.isKeepAlive {
            let channel = context.channel
            sent.whenComplete { _ in channel.close(promise: nil) }
        }
    }
}

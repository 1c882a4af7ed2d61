internal import CoreMetrics
internal import Failpoints
package import Logging
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
package import ServiceKit
internal import Synchronization

/// The door of the platform: takes events over HTTP and answers when they are durable.
package final class Ingest: Sendable {
    private let configuration: IngestConfiguration
    private let logger: Logger
    private let api: API
    private let group: MultiThreadedEventLoopGroup
    private let connections = OpenConnections()
    private let server = Mutex<(any Channel)?>(nil)

    /// How long open requests may take to finish after a shutdown has begun.
    private static let drainLimit = Duration.seconds(10)

    /// Reads the tokens and starts to connect to NATS.
    package init(
        configuration: IngestConfiguration, metrics registry: PrometheusRegistry,
        health: HealthRegistry, logger: Logger
    ) throws(TokenFileError) {
        self.configuration = configuration
        self.logger = logger
        let tokens = try TokenStore(configuration.tokenFiles)
        if configuration.tokenFiles.isPepperReadableByOthers {
            logger.warning("others can read the token pepper file; chmod 600 it")
        }
        let link = BusLink(configuration: configuration, health: health, logger: logger)
        let bounds = IntakeBounds(
            connectionsMax: configuration.connectionsMax,
            bytesMax: configuration.inFlightBytesMax)
        let metrics = IngestMetrics(registry)
        metrics.publish(to: registry, link: link, bounds: bounds, tokens: tokens)
        api = API(
            configuration: configuration, tokens: tokens, link: link, bounds: bounds,
            health: health, metrics: metrics, logger: logger)
        group = MultiThreadedEventLoopGroup(numberOfThreads: configuration.threads)
    }

    /// The name under which health shows NATS.
    package static let dependency = BusLink.dependency

    /// Keeps the way to NATS open; must outlive the connections.
    ///
    /// - Returns: A service that fails with ``ProgramFailure`` when the streams do not suit.
    package func busService() -> ThreadService {
        ThreadService(
            [("bus", { [link = api.link] _ in try link.run() })],
            onStop: { [link = api.link] in link.stop() })
    }

    /// Binds and begins to answer.
    ///
    /// - Returns: The address with the real port.
    /// - Throws: ``ProgramFailure`` naming the address and what to do.
    package func listen() async throws -> NetworkAddress {
        let address = configuration.listen
        // A parser and its buffers for each loop.
        let intakes = Dictionary(
            group.makeIterator().map { loop in
                let intake = EventIntake(configuration: configuration)
                return (
                    ObjectIdentifier(loop),
                    NIOLoopBoundBox.makeBoxSendingValue(
                        intake, eventLoop: loop)
                )
            }, uniquingKeysWith: { first, _ in first })
        do {
            let channel = try await ServerBootstrap(group: group)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .serverChannelOption(.backlog, value: 1024)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .childChannelOption(.allowRemoteHalfClosure, value: true)
                .childChannelInitializer { [api, connections] channel in
                    guard api.bounds.addConnection() else {
                        api.metrics.connectionsRefused.increment()
                        return channel.close()
                    }
                    connections.add(channel)
                    channel.closeFuture.whenComplete { _ in
                        connections.remove(channel)
                        api.bounds.removeConnection()
                    }
                    return channel.eventLoop.makeCompletedFuture {
                        guard let intake = intakes[ObjectIdentifier(channel.eventLoop)] else {
                            preconditionFailure("a connection on a loop of another group")
                        }
                        try Self.configure(channel, api, intake.value)
                    }
                }
                .bind(host: address.host, port: address.port).get()
            server.withLock { $0 = channel }
            return NetworkAddress(
                host: address.host, port: channel.localAddress?.port ?? address.port)
        } catch {
            throw ProgramFailure.cannotListen(on: address, setting: "listen", cause: error)
        }
    }

    /// Takes over changes of the tokens' files within a few seconds; must run as long as requests are answered.
    package func tokenService() -> ThreadService {
        ThreadService([
            (
                "tokens",
                { [api, logger] stop in
                    var watch = TokenWatch(api.tokens) { outcome in
                        switch outcome {
                        case .loaded: Self.logTokens(api.tokens, logger)
                        case .refused(let error):
                            api.metrics.tokenReloadFailures.increment()
                            logger.error(
                                "the tokens cannot be reloaded; the old ones stay: \(error)")
                        }
                    }
                    watch.run(until: stop)
                }
            )
        ])
    }

    /// Reads the tokens' files again, and keeps to these.
    ///
    /// - Throws: ``TokenFileError``; the tokens stay as they were, and a metric counts it.
    package func reloadTokens(from files: TokenFiles) throws(TokenFileError) {
        do throws(TokenFileError) {
            try api.tokens.reload(files)
            Self.logTokens(api.tokens, logger)
        } catch {
            api.metrics.tokenReloadFailures.increment()
            throw error
        }
    }

    private static func logTokens(_ tokens: TokenStore, _ logger: Logger) {
        logger.notice("tokens read", metadata: ["count": .stringConvertible(tokens.count)])
    }

    /// Stops listening, lets open requests finish, closes every connection, and ends the event loops.
    package func drain() async {
        failpoint(.ingestDraining)
        try? await server.withLock { $0.take() }?.close()
        let open = connections.all
        for channel in open {
            // The pipeline handler closes idle connections at once and others behind their answer.
            channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
        let deadline = Task {
            try await Task.sleep(for: Self.drainLimit)
            for channel in connections.all { channel.close(promise: nil) }
        }
        for channel in open { try? await channel.closeFuture.get() }
        deadline.cancel()
        try? await group.shutdownGracefully()
    }

    private static func configure(
        _ channel: any Channel, _ api: API, _ intake: EventIntake
    ) throws {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldCount = API.headerFieldsMax
        limits.maxHeaderFieldSize = API.headerFieldBytesMax
        limits.maxHeaderListSize = API.headerBytesMax
        let pipeline = channel.pipeline.syncOperations
        try pipeline.configureHTTPServerPipeline(
            withErrorHandling: false, withEncoderConfiguration: .init(),
            withDecoderLimitConfiguration: limits)
        try pipeline.addHandler(ConnectionHandler(api: api, intake: intake))
    }
}

/// The channels to close when the service ends.
private final class OpenConnections: Sendable {
    private let channels = Mutex<[ObjectIdentifier: any Channel]>([:])

    var all: [any Channel] { channels.withLock { Array($0.values) } }

    func add(_ channel: any Channel) {
        channels.withLock { $0[ObjectIdentifier(channel)] = channel }
    }

    func remove(_ channel: any Channel) {
        channels.withLock { $0[ObjectIdentifier(channel)] = nil }
    }
}

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
    private let addresses: AddressBounds
    /// Nil serves HTTP in the clear.
    private let certificates: DoorCertificates?
    private let accessLog: AccessLog?
    /// Of each event loop; made by ``listen()``.
    private let loops = Mutex<[NIOLoopBoundBox<ConnectionLoop>]>([])
    private let connections = OpenConnections()
    private let server = Mutex<(any Channel)?>(nil)

    /// Reads the tokens and certificates and starts to connect to NATS.
    ///
    /// - Throws: ``ProgramFailure`` naming the file that cannot be used.
    package init(
        configuration: IngestConfiguration, metrics registry: PrometheusRegistry,
        health: HealthRegistry, logger: Logger
    ) throws(ProgramFailure) {
        self.configuration = configuration
        self.logger = logger
        let tokens: TokenStore
        do throws(TokenFileError) {
            tokens = try TokenStore(configuration.tokenFiles)
        } catch {
            throw ProgramFailure(.configuration, error.description)
        }
        if configuration.tokenFiles.isPepperReadableByOthers {
            logger.warning("others can read the token pepper file; chmod 600 it")
        }
        do throws(DoorCertificates.Failure) {
            certificates = try configuration.tls.map { tls throws(DoorCertificates.Failure) in
                try DoorCertificates(tls)
            }
        } catch {
            throw ProgramFailure(.configuration, error.description)
        }
        let link = BusLink(configuration: configuration, health: health, logger: logger)
        let bounds = IntakeBounds(
            connectionsMax: configuration.connectionsMax,
            bytesMax: configuration.inFlightBytesMax)
        addresses = AddressBounds(connectionsMax: configuration.connectionsPerAddressMax)
        accessLog = configuration.accessLogFile.map {
            AccessLog(path: $0, metrics: registry, logger: logger)
        }
        let metrics = IngestMetrics(registry)
        metrics.publish(to: registry, link: link, bounds: bounds, tokens: tokens)
        api = API(
            configuration: configuration, tokens: tokens, link: link, bounds: bounds,
            rates: RateGate(clientLimits: configuration.clientLimits, metrics: registry),
            health: health, metrics: metrics, logger: logger,
            openAPI: Answer(
                document: OpenAPIDocument(
                    configuration, nowMilliseconds: wallClockMilliseconds()
                ).text))
        group = MultiThreadedEventLoopGroup(numberOfThreads: configuration.threads)
    }

    /// The name under which health shows NATS.
    package static let dependency = BusLink.dependency

    /// Keeps the way to NATS open; must outlive the connections.
    ///
    /// - Returns: A service that fails with ``ProgramFailure`` when the streams do not suit.
    package func busService() -> ThreadService {
        ThreadService(
            [
                ("bus", { [link = api.link] _ in try link.run() }),
                ("fleet", { [link = api.link] stop in link.suppression.watch(until: stop) }),
            ],
            onStop: { [link = api.link] in link.stop() })
    }

    /// Binds and begins to answer.
    ///
    /// - Returns: The address with the real port.
    /// - Throws: ``ProgramFailure`` naming the address and what to do.
    package func listen() async throws -> NetworkAddress {
        let address = configuration.listen
        OpenFiles.makeRoom(forConnections: configuration.connectionsMax, logger: logger)
        // A parser and its buffers for each loop.
        var loops: [ObjectIdentifier: NIOLoopBoundBox<ConnectionLoop>] = [:]
        for loop in group.makeIterator() {
            loops[ObjectIdentifier(loop)] = try? await loop.submit { [api, accessLog] in
                let lane = accessLog.map(AccessLogLane.init)
                return NIOLoopBoundBox(
                    ConnectionLoop(loop, api: api, log: lane), eventLoop: loop)
            }.get()
        }
        self.loops.withLock { $0 = Array(loops.values) }
        do {
            let channel = try await ServerBootstrap(group: group)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .serverChannelOption(.backlog, value: 1024)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .childChannelOption(.allowRemoteHalfClosure, value: true)
                .childChannelInitializer { [self, loops] channel in
                    guard admit(channel) else {
                        api.metrics.connectionsRefused.increment()
                        return channel.close()
                    }
                    return channel.eventLoop.makeCompletedFuture {
                        guard let loop = loops[ObjectIdentifier(channel.eventLoop)] else {
                            preconditionFailure("a connection on a loop of another group")
                        }
                        try configure(channel, loop.value)
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

    /// Takes over changes of the files of tokens and certificates within a few seconds; must run as long as requests are
    /// answered.
    package func fileService() -> ThreadService {
        var bodies: [(name: String, body: ThreadService.Body)] = [
            ("tokens", { [self] stop in watchTokens(until: stop) })
        ]
        if let certificates {
            bodies.append(
                ("certificates", { [self] stop in watch(certificates, until: stop) }))
        }
        return ThreadService(bodies)
    }

    private func watchTokens(until stop: StopSignal) {
        var watch = FileWatch(api.tokens) { [api, logger] outcome in
            switch outcome {
            case .loaded: Self.logTokens(api.tokens, logger)
            case .refused(let error):
                api.metrics.tokenReloadFailures.increment()
                logger.error("the tokens cannot be reloaded; the old ones stay: \(error)")
            }
        }
        watch.run(until: stop)
    }

    private func watch(_ certificates: DoorCertificates, until stop: StopSignal) {
        var watch = FileWatch(certificates) { [api, logger] outcome in
            switch outcome {
            case .loaded: logger.notice("certificates read")
            case .refused(let error):
                api.metrics.certificateReloadFailures.increment()
                logger.error("the certificates cannot be reloaded; the old ones stay: \(error)")
            }
        }
        watch.run(until: stop)
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

    /// Reads the certificates again, from now on these, and opens the access log anew.
    ///
    /// - Throws: ``ProgramFailure`` when the certificates are bad; then the old ones stay.
    package func reloadFiles(_ new: IngestConfiguration) throws(ProgramFailure) {
        accessLog?.reopen()
        guard let certificates, let tls = new.tls else { return }
        do throws(DoorCertificates.Failure) {
            try certificates.reload(tls)
            logger.notice("certificates read")
        } catch {
            api.metrics.certificateReloadFailures.increment()
            throw ProgramFailure(.configuration, error.description)
        }
    }

    /// Writes the access log; must outlive the connections. Nil when there is none.
    package func accessLogService() -> ThreadService? {
        accessLog.map { log in
            ThreadService([("access-log", { _ in log.run() })], onStop: { log.stop() })
        }
    }

    /// Serves on for the configured delay, then stops listening, lets open requests finish, closes every connection,
    /// and ends the event loops.
    package func drain() async {
        api.health.beginShutdown()
        if configuration.drainDelay > .zero {
            try? await Task.sleep(for: configuration.drainDelay)
        }
        failpoint(.ingestDraining)
        try? await server.withLock { $0.take() }?.close()
        let deadline = Task {
            try await Task.sleep(for: configuration.drainTimeout)
            for channel in connections.all { channel.close(promise: nil) }
        }
        // Again, since one that was accepted last may only now be there.
        while case let open = connections.all, !open.isEmpty {
            for channel in open {
                // Idle connections close at once and others behind their answer.
                channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
            }
            for channel in open { try? await channel.closeFuture.get() }
        }
        deadline.cancel()
        // A loop that has ended would never answer.
        let ending = loops.withLock { loops in
            defer { loops = [] }
            return loops
        }
        for loop in ending {
            try? await loop.eventLoop.submit { loop.value.stop() }.get()
        }
        try? await group.shutdownGracefully()
    }

    /// Counts a connection, or returns false at a bound.
    private func admit(_ channel: any Channel) -> Bool {
        guard api.bounds.addConnection() else { return false }
        let address = AddressBounds.Address(channel.remoteAddress)
        if let address, !addresses.add(address) {
            api.bounds.removeConnection()
            return false
        }
        connections.add(channel)
        channel.closeFuture.whenComplete { [self] _ in
            connections.remove(channel)
            if let address { addresses.remove(address) }
            api.bounds.removeConnection()
        }
        return true
    }

    private func configure(_ channel: any Channel, _ loop: ConnectionLoop) throws {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldCount = API.headerFieldsMax
        limits.maxHeaderFieldSize = API.headerFieldBytesMax
        limits.maxHeaderListSize = API.headerBytesMax
        let pipeline = channel.pipeline.syncOperations
        if let certificates { try pipeline.addHandler(certificates.serverHandler()) }
        let arrivals = ArrivalCounter()
        try pipeline.addHandler(arrivals)
        try pipeline.addHandler(
            ByteToMessageHandler(
                HTTPRequestDecoder(
                    leftOverBytesStrategy: .dropBytes, limitConfiguration: limits)))
        try pipeline.addHandler(
            ConnectionHandler(
                loop: loop, arrivals: arrivals, isSecured: certificates != nil))
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

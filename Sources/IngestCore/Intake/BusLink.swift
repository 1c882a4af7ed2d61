internal import Bus
internal import Logging
internal import NATSClient
internal import OwnedThreads
internal import ServiceKit
internal import Synchronization
internal import Telemetry

/// Keeps the way to JetStream open: connects, makes or checks the streams, and then lets events pass.
///
/// NATS may come later than this service, go away, or come back empty: after every connect the streams are
/// checked anew, and until they are fit nothing is published.
final class BusLink: Sendable {
    private enum Work {
        case check
        case stop
    }

    private struct Signal {
        var hasConnectionChanged = true
        var isStopped = false
    }

    private let configuration: IngestConfiguration
    private let health: HealthRegistry
    private let logger: Logger
    private let connector: NATSConnector
    private let made = AtomicLazyReference<BlockPublisher>()
    private let areStreamsFit = Atomic(false)
    private let signal = Monitor(Signal())
    /// Whether probes are to measure nothing.
    let suppression: FleetSuppression

    /// What the health registry calls it.
    static let dependency = "nats"
    private static let connecting = "connecting to NATS"
    /// How long the streams stay unchecked after a check failed.
    private static let retryPause = Duration.seconds(1)

    /// Starts to connect; ``run()`` does the rest.
    init(configuration: IngestConfiguration, health: HealthRegistry, logger: Logger) {
        self.configuration = configuration
        self.health = health
        self.logger = logger
        connector = NATSConnector(
            NATSOptions(
                urls: configuration.natsURLs, name: "qoe-ingest",
                credentials: .init(
                    user: configuration.natsUser, passwordFile: configuration.natsPasswordFile)))
        suppression = FleetSuppression(
            connection: { [connector] in connector.isConnected ? connector.connection : nil },
            logger: logger)
        connector.observe { [signal] event in
            if case .error = event { return }
            signal.update { $0.hasConnectionChanged = true }
        }
    }

    /// The publisher, if events can be published now.
    var publisher: BlockPublisher? {
        guard areStreamsFit.load(ordering: .acquiring) else { return nil }
        let publisher = made.load()
        return publisher?.isAccepting == true ? publisher : nil
    }

    var isConnected: Bool { connector.isConnected }

    var statistics: PublisherStatistics? { made.load()?.statistics }

    /// Runs on its own thread until ``stop()``, then lets what is under way finish.
    ///
    /// - Throws: ``ProgramFailure`` when the streams found at the start break a promise.
    func run() throws {
        defer {
            areStreamsFit.store(false, ordering: .releasing)
            made.load()?.stop(within: configuration.publishTimeout)
            connector.stop()
        }
        var retry: ContinuousClock.Instant?
        while nextWork(until: retry) == .check {
            retry = nil
            guard connector.isConnected, let connection = connector.connection else {
                report(.failing(reason: absence))
                continue
            }
            do throws(StreamError) {
                try open(on: connection)
                report(.ready)
            } catch {
                areStreamsFit.store(false, ordering: .releasing)
                guard error.isRetriable || made.load() != nil else {
                    throw ProgramFailure(.configuration, error.description)
                }
                report(.failing(reason: error.description))
                retry = .now + Self.retryPause
            }
        }
    }

    func stop() {
        signal.update { $0.isStopped = true }
    }

    /// Why there is no connection.
    private var absence: String {
        if let error = connector.lastError { return "no connection to NATS: \(error)" }
        return connector.connection == nil
            ? Self.connecting : "the connection to NATS was lost; connecting again"
    }

    private func nextWork(until deadline: ContinuousClock.Instant?) -> Work {
        let work = signal.wait(until: deadline) { signal -> Work? in
            if signal.isStopped { return .stop }
            guard signal.hasConnectionChanged else { return nil }
            signal.hasConnectionChanged = false
            return .check
        }
        return work ?? .check
    }

    /// Checks the streams, and lets events pass.
    private func open(on connection: NATSConnection) throws(StreamError) {
        // The partition count never changes during a stream's life, nor during ours.
        let known = made.load()?.settings.partitioning
        var wanted = StreamSettings(partitioning: known ?? configuration.partitioning)
        wanted.replicas = configuration.streamReplicas
        let streams = try ensureStreams(wanted, on: JetStream(connection))
        if known == nil {
            var settings = PublisherSettings(partitioning: streams.partitioning)
            settings.acknowledgementLimit = configuration.publishTimeout
            settings.byteCountMax = configuration.inFlightBytesMax
            var random = SystemRandomNumberGenerator()
            let publisher = BlockPublisher(
                connector: connector, producer: .random(using: &random), settings: settings,
                onLoss: { [logger] loss in
                    logger.critical(
                        "a stream has lost messages that it had acknowledged",
                        metadata: [
                            "stream": "\(loss.stream)",
                            "first_seq": "\(loss.sequences.lowerBound)",
                            "last_seq": "\(loss.sequences.upperBound)",
                        ])
                })
            _ = made.storeIfNil(publisher)
        }
        awaitPublisher()
        areStreamsFit.store(true, ordering: .releasing)
    }

    /// Gives the publisher's own thread the moment it takes to use the connection, so that whoever reads
    /// "ready" can post.
    private func awaitPublisher() {
        let deadline = ContinuousClock.now + Self.retryPause
        while connector.isConnected, made.load()?.isAccepting == false, .now < deadline {
            let isStopped = signal.wait(until: .now + .milliseconds(1)) {
                $0.isStopped ? true : nil
            }
            if isStopped == true { return }
        }
    }

    private func report(_ state: HealthRegistry.State) {
        guard health.report(Self.dependency, state) else { return }
        switch state {
        case .ready: logger.notice("NATS is ready")
        case .failing(Self.connecting): logger.debug("connecting to NATS")
        case .failing(let reason): logger.warning("NATS is not ready: \(reason)")
        }
    }
}

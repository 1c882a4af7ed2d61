internal import Bus
internal import Glibc
internal import LogDecoding
package import Logging
internal import NATSClient
internal import Postgres
package import ServiceKit
internal import Telemetry
internal import Windowing

/// Threads that count the partitions of the stream, and one that follows the heartbeats.
package struct AggregatorService: Sendable {
    private let configuration: AggregatorConfiguration
    private let metrics: AggregatorMetrics
    private let health: HealthRegistry
    private let logger: Logger

    /// How long one turn of a worker may wait for messages, and so for a shutdown to be noticed.
    private static let turnLimit = Duration.milliseconds(250)
    /// How long the making of one rollup may take.
    private static let rollupLimit = Duration.seconds(1800)
    /// Between two tries to find the stream.
    private static let retryInterval = Duration.seconds(1)

    package init(
        configuration: AggregatorConfiguration, metrics: AggregatorMetrics, health: HealthRegistry,
        logger: Logger
    ) {
        self.configuration = configuration
        self.metrics = metrics
        self.health = health
        self.logger = logger
    }

    /// The service with all its threads.
    package func makeService() throws -> ThreadService {
        // Rollups can be left at any moment; a last flush should not.
        let rollupInterrupt = try PostgresInterrupt()
        return ThreadService(
            try makeThreads(rollupInterrupt), onStop: { rollupInterrupt.trigger() })
    }

    /// What runs on the service's threads, each with its name.
    package func makeThreads() throws -> [(name: String, body: ThreadService.Body)] {
        try makeThreads(PostgresInterrupt())
    }

    private func makeThreads(
        _ rollupInterrupt: PostgresInterrupt
    ) throws -> [(name: String, body: ThreadService.Body)] {
        let interrupt = try PostgresInterrupt()
        let connector = NATSConnector(
            NATSOptions(
                urls: configuration.natsURLs, name: "qoe-aggregator",
                credentials: .init(
                    user: configuration.natsUser, passwordFile: configuration.natsPasswordFile)),
            onEvent: { [health, logger] event in
                switch event {
                case .connected, .reconnected:
                    health.report("nats", .ready)
                default:
                    health.report("nats", .failing(reason: "not connected"))
                }
                logger.info("NATS: \(event)")
            })
        let witness = TimelineWitness(connector)
        let makeDatabase = { @Sendable [configuration, health, logger] in
            StoreConnection(
                url: configuration.database, interrupt: interrupt, witness: witness,
                health: health, logger: logger)
        }
        let workers = (0..<configuration.workerCount).map { index in
            (
                name: "events \(index)",
                body: { @Sendable (stop: StopSignal) in
                    runWorker(
                        index, connector: connector, database: makeDatabase(), until: stop)
                } as ThreadService.Body
            )
        }
        let heartbeats: ThreadService.Body = { stop in
            runHeartbeats(connector: connector, database: makeDatabase(), until: stop)
        }
        let housekeeping: ThreadService.Body = { [configuration, metrics, logger] stop in
            // Readiness is about counting; what fails here has metrics of its own.
            let database = StoreConnection(
                url: configuration.database, interrupt: rollupInterrupt, witness: witness,
                answerLimit: Self.rollupLimit, health: nil, logger: logger)
            Housekeeper(
                database: database, rollupInterval: configuration.rollupInterval,
                retention: configuration.retention,
                metrics: HousekeepingMetrics(factory: metrics.factory), logger: logger
            ).run(until: stop)
        }
        return workers + [("heartbeats", heartbeats), ("housekeeping", housekeeping)]
    }

    private func runWorker(
        _ index: Int, connector: NATSConnector, database: StoreConnection,
        until stop: StopSignal
    ) {
        guard let partitioning = findPartitioning(connector, until: stop) else { return }
        let partitions = (0..<partitioning.count).filter {
            $0 % configuration.workerCount == index
        }
        let log = BusEventLog.events(connector)
        defer { log.stop() }
        let worker = PartitionWorker(
            name: "\(index)", partitions: partitions, partitionCount: partitioning.count, log: log,
            tables: StoreTables(
                database: database, owner: configuration.instanceID,
                lease: configuration.lease, metrics: metrics, logger: logger),
            decoder: MessageDecoder(partitioning: partitioning),
            environment: .init(
                instant: { ContinuousClock.now },
                unixMilliseconds: unixMilliseconds,
                makeNonce: {
                    var random = SystemRandomNumberGenerator()
                    return UniqueID.random(using: &random)
                }),
            timing: .init(
                flushInterval: configuration.flushInterval, lease: configuration.lease),
            limits: PartitionState.Limits(
                cellCountMax: max(1, configuration.cellCountMax / partitioning.count),
                recentIDCountMax: max(1, configuration.recentIDCountMax / partitioning.count)),
            metrics: metrics, logger: logger)
        while !stop.wasGiven { worker.turn(until: .now + Self.turnLimit) }
        worker.finish()
    }

    private func runHeartbeats(
        connector: NATSConnector, database: StoreConnection, until stop: StopSignal
    ) {
        let trimmer = LogTrimmer(
            connector: connector, database: database, interval: configuration.trimInterval,
            metrics: metrics, logger: logger)
        let worker = HeartbeatWorker(
            connector: connector, database: database,
            owner: configuration.instanceID, lease: configuration.lease,
            flushInterval: configuration.flushInterval, metrics: metrics, logger: logger)
        let forwarder = DeadLetterForwarder(
            connector: connector, database: database,
            metrics: DeadLetterMetrics(factory: metrics.factory), logger: logger)
        while !stop.wasGiven {
            worker.turn(until: .now + Self.turnLimit)
            trimmer.trimIfDue()
            forwarder.forwardIfDue()
        }
        worker.finish()
    }

    /// The partitions that the stream lists, once there is a stream; nil when a shutdown comes first.
    private func findPartitioning(
        _ connector: NATSConnector, until stop: StopSignal
    ) -> Partitioning? {
        var isNews = true
        while !stop.wasGiven {
            do {
                let connection = try connector.waitUntilConnected(within: Self.retryInterval)
                let stream = try JetStream(connection).stream(named: BusStream.events)
                guard let partitioning = recordedPartitioning(stream.configuration) else {
                    throw EventLogError(
                        "the subjects of \(stream.configuration.name) are not one per partition")
                }
                return partitioning
            } catch {
                logger.log(
                    level: isNews ? .notice : .debug,
                    "waits for the stream \(BusStream.events), which ingest makes",
                    metadata: ["reason": "\(error)"])
                isNews = false
                stop.wait(for: Self.retryInterval)
            }
        }
        return nil
    }
}

@Sendable private func unixMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) &* 1000 &+ Int64(time.tv_nsec) / 1_000_000
}

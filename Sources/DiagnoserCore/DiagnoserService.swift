package import Logging
internal import Postgres
package import ServiceKit
internal import Store

/// Labels changed minutes, round after round, and begins anew when the database was away.
package struct DiagnoserService: Sendable {
    private let configuration: DiagnoserConfiguration
    private let metrics: DiagnoserMetrics
    private let health: HealthRegistry
    private let logger: Logger

    package init(
        configuration: DiagnoserConfiguration, metrics: DiagnoserMetrics, health: HealthRegistry,
        logger: Logger
    ) {
        self.configuration = configuration
        self.metrics = metrics
        self.health = health
        self.logger = logger
    }

    /// The service, whose one thread talks to the database.
    package func makeService() throws -> ThreadService {
        let interrupt = try PostgresInterrupt()
        return ThreadService(
            [("diagnoser", { stop in run(until: stop, interrupt: interrupt) })],
            onStop: { interrupt.trigger() })
    }

    private func run(until stop: StopSignal, interrupt: PostgresInterrupt) {
        var backoff = Backoff(initial: .milliseconds(500), maximum: .seconds(15))
        var random = SystemRandomNumberGenerator()
        var timelines = SeenTimelines()
        while !stop.wasGiven {
            do {
                let connection = try PostgresConnection(
                    to: configuration.database, interrupt: interrupt)
                try Schema().requireCurrent(connection)
                try timelines.check(ServerIdentity(of: connection))
                let reader =
                    try configuration.reader.map { (address) throws(PostgresError) in
                        try PostgresConnection(to: address, interrupt: interrupt)
                    } ?? connection
                let labeler = MinuteLabeler(
                    reader: DiagnosisStore(reader), writer: DiagnosisStore(connection))
                if health.report("postgres", .ready) { logger.info("connected to PostgreSQL") }
                backoff.reset()
                try serve(labeler, reader, until: stop)
            } catch {
                guard !stop.wasGiven else { return }
                metrics.countFailure()
                let isNews = health.report("postgres", .failing(reason: "\(error)"))
                logger.log(level: isNews ? .warning : .debug, "cannot label: \(error)")
                stop.wait(for: backoff.next(using: &random))
            }
        }
    }

    private func serve(
        _ labeler: MinuteLabeler, _ reader: PostgresConnection, until stop: StopSignal
    ) throws {
        while !stop.wasGiven {
            metrics.record(try PostgresReplicaState.of(reader))
            let start = ContinuousClock.now
            let round = try labeler.round()
            metrics.record(round, duration: ContinuousClock.now - start)
            stop.wait(for: configuration.interval)
        }
    }
}

import DiagnoserCore
import ServiceKit

await Program(
    name: "diagnoser",
    abstract: "Says what was wrong in each minute, for each client and target.",
    discussion: """
        Follows the minutes that the aggregator changes and writes a label to each row of agg_1m:
        healthy, dns-bound, handshake-bound, server-bound or throughput-bound. Needs the database
        with its schema (qoectl db migrate). Several may run; they write the same labels.
        """,
    examples: [
        .init(
            "diagnoser --postgres-url postgresql://qoe@db/telemetry",
            "labels the minutes of that database until SIGTERM")
    ],
    settings: DiagnoserConfiguration.settings, metricsListen: "0.0.0.0:9092",
    dependencies: ["postgres"]
) { context in
    let service = DiagnoserService(
        configuration: try DiagnoserConfiguration(context.settings),
        metrics: DiagnoserMetrics(factory: context.metrics), health: context.health,
        logger: context.logger)
    await context.add("diagnoser", try service.makeService())
}.main()

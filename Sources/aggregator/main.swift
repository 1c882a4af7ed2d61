import AggregatorCore
import ServiceKit

await Program(
    name: "aggregator",
    abstract: "Counts events into one row per client, target and minute, exactly once.",
    discussion: """
        Reads the blocks that ingest stored in JetStream, counts their events in memory, and writes
        the changed rows of agg_1m together with its place in the log in one transaction per
        partition and second. Whatever crashes, the rows are the exact result of the log up to that
        place. Needs NATS with the streams (ingest makes them) and the database with its schema
        (qoectl db migrate). A second instance waits and takes over when the first one is gone.
        """,
    examples: [
        .init(
            "aggregator --nats-url nats://nats-1:4222 --postgres-url postgresql://qoe@db/telemetry",
            "counts until SIGTERM")
    ],
    settings: AggregatorConfiguration.settings, metricsListen: "0.0.0.0:9091",
    dependencies: ["nats", "postgres"], check: \.natsLoginProblems
) { context in
    let service = AggregatorService(
        configuration: try AggregatorConfiguration(context.settings),
        metrics: AggregatorMetrics(factory: context.metrics), health: context.health,
        logger: context.logger)
    await context.add("aggregator", try service.makeService())
}.main()

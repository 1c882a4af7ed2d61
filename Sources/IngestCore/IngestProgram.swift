internal import NIOCore
package import ServiceKit
internal import ServiceLifecycle

/// The program `ingest`.
package enum IngestProgram {
    package static let program = Program(
        name: "ingest",
        abstract: "Takes measurements over HTTP and answers when they are durable.",
        discussion: """
            Probes and other clients post events and heartbeats here, each with a token. The body is one \
            event, a JSON array of events, or one event per line with Content-Type \
            application/x-ndjson. A request gets 202 only after NATS JetStream has acknowledged \
            everything in it on disk, and 503 with Retry-After when that cannot be had; sending the \
            same again is harmless.
            Needs NATS with JetStream, whose streams it makes, and a file of tokens.
            """,
        examples: [
            .init(
                "ingest --tokens-file tokens.jsonl",
                "takes events on port 8080 for the NATS on this machine; the tokens file comes from "
                    + "qoectl token create --tokens-file tokens.jsonl --name me --client '*'"),
            .init(
                "ingest --tokens-file tokens.jsonl --nats-url nats://nats-1:4222,nats://nats-2:4222 "
                    + "--stream-replicas 3",
                "takes events for a cluster"),
            .init(
                """
                curl -i http://127.0.0.1:8080/events -H "Authorization: Bearer $TOKEN" \\
                    -H 'Content-Type: application/json' \\
                    -d '{"schema_version":1,"event_id":"'$(cat /proc/sys/kernel/random/uuid)'","client_id":"me",
                         "target":"https://example.com","ts_ms":'$(date +%s000)',
                         "timing_measurements":{"dns_ms":12.5,"ttfb_ms":80}}'
                """, "posts one event; the answer is 202 when it is durable"),
        ],
        settings: IngestConfiguration.settings, metricsListen: "0.0.0.0:9090",
        listeners: [
            .init("api", setting: "listen", purpose: "events, heartbeats, /health and /ready")
        ],
        dependencies: [Ingest.dependency], check: IngestConfiguration.problems,
        run: run)

    private static func run(_ context: ServiceContext) async throws {
        let configuration = IngestConfiguration(
            context.settings, coreCount: System.coreCount)
        let ingest = try Ingest(
            configuration: configuration, metrics: context.metrics, health: context.health,
            logger: context.logger)
        // Added first, ended last: requests that are under way still need the bus.
        await context.add("bus", ingest.busService())
        await context.add("files", ingest.fileService())
        if let log = ingest.accessLogService() { await context.add("access-log", log) }
        let address = try await ingest.listen()
        await context.add("api") {
            try? await gracefulShutdown()
            await ingest.drain()
        }
        context.onReload("tokens") { settings in
            let new = IngestConfiguration(settings, coreCount: configuration.threads)
            try ingest.reloadTokens(from: new.tokenFiles)
        }
        context.onReload("certificates and access log") { settings in
            try ingest.reloadFiles(
                IngestConfiguration(settings, coreCount: configuration.threads))
        }
        try context.announce(listener: "api", address: address)
    }
}

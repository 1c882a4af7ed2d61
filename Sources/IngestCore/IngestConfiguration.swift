package import ServiceKit
package import Telemetry

/// What can be set on `ingest`.
package struct IngestConfiguration: Sendable {
    package static let settings: [Setting] = [
        Setting(
            "listen", .address, default: "0.0.0.0:8080",
            help: "Address of the HTTP API. Port 0 takes any free port, which is logged."),
        Setting(
            "nats-url", .urls(schemes: ["nats", "tls"]), default: "nats://127.0.0.1:4222",
            help: "The NATS servers with JetStream; any one of a cluster will do."),
        Setting(
            tokensFile, .path, isReloadable: true,
            help:
                "File with the tokens that clients may use, made by 'qoectl token create'. A change "
                + "takes effect within 5 s; a bad file keeps the tokens that were good."),
        Setting(
            tokenPepperFile, .path, isReloadable: true,
            help:
                "File with the key of the hashes in the tokens file, made with the first token. "
                + "The tokens file's name and .pepper unless set."),
        Setting(
            "threads", .integer(1...256),
            help: "Event loops that parse requests. One per core unless set."),
        Setting(
            "partitions", .integer(1...Partitioning.maximumCount),
            help: "Partitions of the events stream, for the service that makes it; "
                + "\(Partitioning.defaultCount) unless set. Must agree with a stream that is there."
        ),
        Setting(
            "stream-replicas", .integer(1...5), default: "1",
            help: "Copies of each stream: 3 in a cluster."),
        Setting(
            "retention", .durationIn(.seconds(3600)...(.seconds(3650 * 86_400))), default: "30d",
            help:
                "How old a measurement may be: the retention of agg_1m, below which every row has "
                + "its partition."),
        Setting(
            "max-body-bytes", .byteCount(1 << 10...(16 << 20)), default: "1MiB",
            help: "Largest body of a request; a larger one gets 413."),
        Setting(
            "max-batch-events", .integer(1...10_000), default: "2000",
            help: "Most events of a request; more get 413."),
        Setting(
            "max-event-bytes", .byteCount(512...(1 << 20)), default: "64KiB",
            help: "Largest event; a larger one is refused, alone."),
        Setting(
            "max-connections", .integer(1...1_000_000), default: "10000",
            help:
                "Connections open at once; more are closed as soon as they are accepted. The limit "
                + "on open files must be higher."),
        Setting(
            "max-inflight-bytes", .byteCount(1 << 20...(64 << 30)), default: "256MiB",
            help:
                "Bytes of bodies that are being received or wait for their acknowledgement. At the "
                + "bound requests get 503, before memory grows."),
        Setting(
            "request-timeout", .durationIn(.milliseconds(100)...(.seconds(3600))), default: "30s",
            help: "How long a client may take to send a request, from its head to its end."),
        Setting(
            "idle-timeout", .durationIn(.milliseconds(100)...(.seconds(86_400))), default: "60s",
            help: "How long a connection may stay without a complete request head."),
        Setting(
            "publish-timeout", .durationIn(.milliseconds(100)...(.seconds(60))), default: "5s",
            help: "How long JetStream may take to acknowledge before the client gets 503."),
    ]

    private static let tokensFile = "tokens-file"
    private static let tokenPepperFile = "token-pepper-file"

    package var listen: NetworkAddress
    package var natsURLs: [String]
    package var tokenFiles: TokenFiles
    package var threads: Int
    /// Nil takes what the stream has.
    package var partitioning: Partitioning?
    package var streamReplicas: Int
    package var retentionMilliseconds: Int64
    package var bodyBytesMax: Int
    package var batchEventsMax: Int
    package var eventBytesMax: Int
    package var connectionsMax: Int
    package var inFlightBytesMax: Int
    package var requestTimeout: Duration
    package var idleTimeout: Duration
    package var publishTimeout: Duration

    /// Reads what ``settings`` lists, which also has the types, defaults and meanings.
    ///
    /// - Parameter coreCount: The event loops when `threads` is not set.
    package init(_ settings: Settings, coreCount: Int) {
        listen = settings.address("listen")
        natsURLs = settings.urls("nats-url")
        tokenFiles = TokenFiles(
            tokens: settings.optionalPath(Self.tokensFile) ?? "",
            pepper: settings.optionalPath(Self.tokenPepperFile))
        threads = settings.optionalInteger("threads") ?? coreCount
        partitioning = settings.optionalInteger("partitions").flatMap(Partitioning.init(count:))
        streamReplicas = settings.integer("stream-replicas")
        retentionMilliseconds = settings.duration("retention").components.seconds * 1000
        bodyBytesMax = settings.integer("max-body-bytes")
        batchEventsMax = settings.integer("max-batch-events")
        eventBytesMax = settings.integer("max-event-bytes")
        connectionsMax = settings.integer("max-connections")
        inFlightBytesMax = settings.integer("max-inflight-bytes")
        requestTimeout = settings.duration("request-timeout")
        idleTimeout = settings.duration("idle-timeout")
        publishTimeout = settings.duration("publish-timeout")
    }

    /// What only the program can find wrong: whether there are tokens.
    package static func problems(_ settings: Settings) -> [ConfigurationProblem] {
        guard let path = settings.optionalPath(tokensFile) else {
            let advice = TokenFile.advice(path: "tokens.jsonl")
            return [
                settings.problem(
                    tokensFile, "is not set, and nobody may post without a token; \(advice)")
            ]
        }
        do throws(TokenFileError) {
            let pepper = settings.optionalPath(tokenPepperFile)
            _ = try TokenTable.first(TokenFiles(tokens: path, pepper: pepper))
            return []
        } catch {
            return [settings.problem(tokensFile, error.description)]
        }
    }
}

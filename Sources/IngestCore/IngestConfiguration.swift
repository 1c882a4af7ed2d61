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
        .natsUser, .natsPasswordFile,
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
            "retention", .durationIn(.seconds(3600)...(.seconds(30 * 86_400))), default: "30d",
            help:
                "How old a measurement may be. Not longer than --retention-1m of the aggregators, so "
                + "that its minute is there; they count nothing that is older than 31 days."),
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
            "max-inflated-bytes", .byteCount(1 << 10...(64 << 20)), default: "4MiB",
            help: "Largest body of a request when its gzip is undone; a larger one gets 413."),
        Setting(
            "max-inflation-ratio", .integer(2...1032), default: "100",
            help:
                "How many times larger than its gzip a body beyond 64 KiB may be; more get 413."),
        Setting(
            "max-connections", .integer(1...1_000_000), default: "10000",
            help:
                "Connections open at once; more are closed as soon as they are accepted. The limit "
                + "on open files must be higher."),
        Setting(
            "max-connections-per-address", .integer(1...1_000_000), default: "1000",
            help:
                "Connections open at once from one address (IPv6: one /64); more are closed as soon "
                + "as they are accepted. All probes behind one NAT, or a proxy, are one address."),
        Setting(
            "max-requests-per-connection", .integer(1...1_000_000_000), default: "100000",
            help:
                "After so many requests a connection is closed, so that long-lived clients spread "
                + "over new instances."),
        Setting(
            "max-inflight-bytes", .byteCount(1 << 20...(64 << 30)), default: "256MiB",
            help:
                "Bytes of bodies that are being received or wait for their acknowledgement. At the "
                + "bound requests get 503, before memory grows."),
        Setting(
            "header-timeout", .durationIn(.milliseconds(100)...(.seconds(3600))), default: "5s",
            help: "How long a request's head may take from its first byte to its end."),
        Setting(
            "request-timeout", .durationIn(.milliseconds(100)...(.seconds(3600))), default: "30s",
            help:
                "How long a client may take to send a body, and how long it may leave its answers "
                + "unread."),
        Setting(
            "min-body-rate", .byteCount(1...(1 << 30)), default: "1KiB",
            help: "Bytes per second that a body must come with after its first 5 seconds."),
        Setting(
            "idle-timeout", .durationIn(.milliseconds(100)...(.seconds(86_400))), default: "60s",
            help: "How long a connection may stay without a request."),
        Setting(
            "token-events-per-second", .integer(1...1_000_000_000),
            help:
                "Events per second that one token may post, unless the token says otherwise; more "
                + "get 429. Not limited unless set."),
        Setting(
            "token-bytes-per-second", .byteCount(1...(1 << 40)),
            help:
                "Bytes per second that one token may post, as sent, unless the token says otherwise; "
                + "more get 429. Not limited unless set."),
        Setting(
            "client-events-per-second", .integer(1...1_000_000_000), default: "10000",
            help:
                "Events per second of one client_id; more get 429. A probe of 20 targets every 10 s "
                + "needs 2."),
        Setting(
            "client-bytes-per-second", .byteCount(1...(1 << 40)),
            help:
                "Bytes per second of one client_id, as sent; more get 429. Not limited unless set."),
        Setting(
            "rate-burst", .durationIn(.seconds(1)...(.seconds(3600))), default: "10s",
            help:
                "What a token or client may post at once after a pause: as much as its rates allow "
                + "in this time. A larger request passes, and is made up for by waiting."),
        Setting(
            tlsCertificateFile, .path, isReloadable: true,
            help:
                "Certificate of the API with its chain, PEM. With it the API speaks TLS 1.3 only; "
                + "without it, HTTP in the clear. A change takes effect within 5 s, for new "
                + "connections."),
        Setting(
            tlsKeyFile, .path, isReloadable: true, help: "Private key of that certificate, PEM."),
        Setting(
            tlsClientCAFile, .path, isReloadable: true,
            help:
                "CAs whose clients need no token, PEM: the DNS names in a client's certificate are "
                + "the client_ids that it may post for."),
        Setting(
            "tls-client-certificates", .choice(["optional", "required"]), default: "optional",
            help:
                "Whether a client without a certificate is let in, to show a token, when "
                + "tls-client-ca-file is set."),
        Setting(
            "access-log", .path,
            help:
                "File that gets a line of JSON for each request. SIGHUP opens it anew, for "
                + "rotation. No such log unless set."),
        Setting(
            "drain-delay", .durationIn(.zero...(.seconds(600))), default: "0s",
            help:
                "How long requests are still served after SIGTERM while /ready already fails, so "
                + "that a load balancer turns away."),
        Setting(
            "drain-timeout", .durationIn(.milliseconds(100)...(.seconds(600))), default: "10s",
            help: "How long open requests may then take to finish before they are cut off."),
        Setting(
            "publish-timeout", .durationIn(.milliseconds(100)...(.seconds(60))), default: "5s",
            help: "How long JetStream may take to acknowledge before the client gets 503."),
    ]

    private static let tokensFile = "tokens-file"
    private static let tokenPepperFile = "token-pepper-file"
    private static let tlsCertificateFile = "tls-certificate-file"
    private static let tlsKeyFile = "tls-key-file"
    private static let tlsClientCAFile = "tls-client-ca-file"

    package var listen: NetworkAddress
    package var natsURLs: [String]
    /// Who logs in to NATS, and the file with the password; both or none.
    package var natsUser: String?
    package var natsPasswordFile: String?
    package var tokenFiles: TokenFiles
    package var threads: Int
    /// Nil takes what the stream has.
    package var partitioning: Partitioning?
    package var streamReplicas: Int
    package var retentionMilliseconds: Int64
    package var bodyBytesMax: Int
    package var batchEventsMax: Int
    package var eventBytesMax: Int
    package var inflatedBytesMax: Int
    package var inflationRatioMax: Int
    package var connectionsMax: Int
    package var connectionsPerAddressMax: Int
    package var requestsPerConnectionMax: Int
    package var inFlightBytesMax: Int
    package var headerTimeout: Duration
    package var requestTimeout: Duration
    package var bodyBytesPerSecondMin: Int
    package var idleTimeout: Duration
    /// Of a token that does not say otherwise.
    var tokenLimits: RateLimits
    var clientLimits: RateLimits
    private var burstSeconds: Int
    /// Nil serves HTTP in the clear.
    var tls: DoorTLSSettings?
    /// Nil keeps no access log.
    package var accessLogFile: String?
    package var drainDelay: Duration
    package var drainTimeout: Duration
    package var publishTimeout: Duration

    /// Reads what ``settings`` lists, which also has the types, defaults and meanings.
    ///
    /// - Parameter coreCount: The event loops when `threads` is not set.
    package init(_ settings: Settings, coreCount: Int) {
        listen = settings.address("listen")
        natsURLs = settings.urls("nats-url")
        natsUser = settings.optionalString("nats-user")
        natsPasswordFile = settings.optionalPath("nats-password-file")
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
        inflatedBytesMax = settings.integer("max-inflated-bytes")
        inflationRatioMax = settings.integer("max-inflation-ratio")
        connectionsMax = settings.integer("max-connections")
        connectionsPerAddressMax = settings.integer("max-connections-per-address")
        requestsPerConnectionMax = settings.integer("max-requests-per-connection")
        inFlightBytesMax = settings.integer("max-inflight-bytes")
        headerTimeout = settings.duration("header-timeout")
        requestTimeout = settings.duration("request-timeout")
        bodyBytesPerSecondMin = settings.integer("min-body-rate")
        idleTimeout = settings.duration("idle-timeout")
        burstSeconds = Int(clamping: settings.duration("rate-burst").components.seconds)
        let burst = burstSeconds
        func limits(_ kind: String) -> RateLimits {
            func limit(_ unit: String) -> RateLimit? {
                RateLimit(
                    perSecond: settings.optionalInteger("\(kind)-\(unit)-per-second"),
                    burstSeconds: burst)
            }
            return RateLimits(events: limit("events"), bytes: limit("bytes"))
        }
        tokenLimits = limits("token")
        clientLimits = limits("client")
        tls = Self.tls(settings)
        accessLogFile = settings.optionalPath("access-log")
        drainDelay = settings.duration("drain-delay")
        drainTimeout = settings.duration("drain-timeout")
        publishTimeout = settings.duration("publish-timeout")
    }

    /// The rates of a token: its own, or else those of all tokens.
    func limits(of token: TokenEntry) -> RateLimits {
        RateLimits(
            events: RateLimit(perSecond: token.eventsPerSecondMax, burstSeconds: burstSeconds)
                ?? tokenLimits.events,
            bytes: RateLimit(perSecond: token.bytesPerSecondMax, burstSeconds: burstSeconds)
                ?? tokenLimits.bytes)
    }

    private static func tls(_ settings: Settings) -> DoorTLSSettings? {
        guard let certificate = settings.optionalPath(tlsCertificateFile),
            let key = settings.optionalPath(tlsKeyFile)
        else { return nil }
        return DoorTLSSettings(
            certificateFile: certificate, keyFile: key,
            clientCAFile: settings.optionalPath(tlsClientCAFile),
            requiresClientCertificate: settings.string("tls-client-certificates") == "required")
    }

    /// What only the program can find wrong: whether there are tokens, certificates that can be used, and all
    /// that it takes to log in to NATS.
    package static func problems(_ settings: Settings) -> [ConfigurationProblem] {
        settings.natsLoginProblems + tokenProblems(settings) + tlsProblems(settings)
    }

    private static func tlsProblems(_ settings: Settings) -> [ConfigurationProblem] {
        let names = [tlsCertificateFile, tlsKeyFile, tlsClientCAFile]
        let set = names.filter(settings.isSet)
        guard !set.isEmpty else { return [] }
        for name in [tlsCertificateFile, tlsKeyFile] where !settings.isSet(name) {
            return [
                settings.problem(
                    name, "is not set, and \(set.joined(separator: " and ")) cannot do without it")
            ]
        }
        guard let tls = tls(settings) else { return [] }
        do throws(DoorCertificates.Failure) {
            _ = try DoorCertificates.context(tls)
            return []
        } catch {
            return [settings.problem(tlsCertificateFile, "cannot be used: \(error.description)")]
        }
    }

    private static func tokenProblems(_ settings: Settings) -> [ConfigurationProblem] {
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

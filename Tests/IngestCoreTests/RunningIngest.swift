import Blocks
import Bus
import Dispatch
import Glibc
import IngestCore
import Logging
import NATSClient
import PrivateServers
import ServiceKit
import Telemetry
import TestKit
import Transport

/// How a test speaks with its ingest.
enum Door: CaseIterable {
    case clear, tls
}

/// An ingest with its own nats-server, on free ports.
struct RunningIngest {
    let nats: NATSServer
    let health: HealthRegistry
    let metrics: PrometheusRegistry
    let ingest: Ingest
    let tokensFile: String
    /// May speak for every client.
    let token: String
    let port: Int
    /// What clients trust when it speaks TLS.
    let tls: TLSContext?

    /// A connection of a client, as the ingest wants it.
    func connect() throws -> HTTPClient {
        try tls.map { try HTTPClient(port: port, trusting: $0) } ?? HTTPClient(port: port)
    }

    /// The head of a request with a good token.
    func head(
        _ method: String = "POST", _ path: String = "/events", length: Int,
        type: String? = "application/json", token: String? = nil, extra: String = ""
    ) -> String {
        "\(method) \(path) HTTP/1.1\r\nHost: test\r\nContent-Length: \(length)\r\n"
            + "Authorization: Bearer \(token ?? self.token)\r\n"
            + (type.map { "Content-Type: \($0)\r\n" } ?? "") + extra + "\r\n"
    }

    /// Posts on a connection of its own.
    func post(
        _ body: String, to path: String = "/events", type: String? = "application/json",
        token: String? = nil, extra: String = ""
    ) throws -> HTTPClient.Response {
        let client = try connect()
        let head = head(
            "POST", path, length: body.utf8.count, type: type, token: token, extra: extra)
        try client.send(head + body)
        return try client.response()
    }

    func get(_ path: String) throws -> HTTPClient.Response {
        let client = try connect()
        try client.send("GET \(path) HTTP/1.1\r\nHost: test\r\n\r\n")
        return try client.response()
    }

    /// The value of a series that has no labels, or whose labels are given.
    func metric(_ series: String) -> Double? {
        for line in metrics.render().split(separator: "\n") where line.hasPrefix("\(series) ") {
            return Double(line.dropFirst(series.count + 1))
        }
        return nil
    }

    /// Whether nothing is held any more for connections and bodies that are gone.
    func isIdle() -> Bool {
        metric("qoe_ingest_inflight_bytes") == 0 && metric("qoe_ingest_connections") == 0
    }

    /// All events of the stream, with the partition of the subject each came on.
    func storedEvents() throws -> [(partition: Int, event: Event)] {
        let connection = try NATSConnection(NATSOptions(urls: [nats.url], name: "test")) { _ in }
        defer { connection.close() }
        let jetStream = JetStream(connection)
        let stream = try jetStream.stream(named: BusStream.events)
        var events: [(Int, Event)] = []
        guard stream.lastSequence > 0 else { return [] }
        for sequence in stream.firstSequence...stream.lastSequence {
            let stored = try jetStream.message(inStream: BusStream.events, sequence: sequence)
            let partition = stored.subject.split(separator: ".").last.flatMap { Int($0) } ?? -1
            try stored.message.withUnsafePayload { payload in
                let reader = try BlockReader(validating: payload)
                events += (0..<reader.eventCount).map { (partition, reader.event($0)) }
            }
        }
        return events
    }

    func storedHeartbeats() throws -> [String] {
        let connection = try NATSConnection(NATSOptions(urls: [nats.url], name: "test")) { _ in }
        defer { connection.close() }
        let jetStream = JetStream(connection)
        let stream = try jetStream.stream(named: BusStream.heartbeats)
        guard stream.lastSequence > 0 else { return [] }
        return try (stream.firstSequence...stream.lastSequence).map { sequence in
            try jetStream.message(inStream: BusStream.heartbeats, sequence: sequence).message
                .withUnsafePayload { String(decoding: $0, as: UTF8.self) }
        }
    }
}

/// Runs `body` against an ingest that is ready, or that has no NATS yet.
func withIngest(
    _ door: Door = .clear, settings: [String: String] = [:], startsBeforeNATS: Bool = false,
    _ body: (RunningIngest) async throws -> Void
) async throws {
    try await withTemporaryFolder { folder in
        let nats = try NATSServer(NATSServer.Settings(dataFolder: "\(folder)/nats"))
        defer { try? nats.kill() }
        if startsBeforeNATS { try nats.kill() }
        let tokensFile = "\(folder)/tokens.jsonl"
        let token = try TokenFile.create(name: "test", clients: ["*"], in: tokensFile)
        var values = [
            "listen": "127.0.0.1:0", "nats-url": nats.url, "tokens-file": tokensFile,
            "threads": "2",
        ]
        let certificates = door == .tls ? try TestCertificates(folder) : nil
        if let certificates { values.merge(certificates.settings) { $1 } }
        values.merge(settings) { $1 }
        let health = HealthRegistry(dependencies: [Ingest.dependency])
        let metrics = PrometheusRegistry()
        let ingest = try Ingest(
            configuration: IngestConfiguration(
                Settings(IngestConfiguration.settings, values: values), coreCount: 2),
            metrics: metrics, health: health, logger: Logger(label: "test"))
        let bus = Task(executorPreference: BlockingExecutor.shared) {
            try await ingest.busService().run()
        }
        let log = Task(executorPreference: BlockingExecutor.shared) {
            try await ingest.accessLogService()?.run()
        }
        let address = try await ingest.listen()
        let running = RunningIngest(
            nats: nats, health: health, metrics: metrics, ingest: ingest, tokensFile: tokensFile,
            token: token, port: address.port, tls: try certificates?.clientContext())
        let outcome: Result<Void, any Error>
        do {
            if !startsBeforeNATS { try await waitUntilReady(health) }
            try await withTaskExecutorPreference(BlockingExecutor.shared) {
                try await body(running)
            }
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        await ingest.drain()
        bus.cancel()
        log.cancel()
        try? await bus.value
        try? await log.value
        try outcome.get()
    }
}

/// Threads for tests, which wait in system calls: Swift's own pool stays free for the ingest that they test.
private final class BlockingExecutor: TaskExecutor {
    static let shared = BlockingExecutor()

    private let queue = DispatchQueue(label: "tests", attributes: .concurrent)

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

/// Waits without holding a thread, which the bus needs to start on.
func waitUntilReady(_ health: HealthRegistry) async throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while !health.isReady {
        guard .now < deadline else {
            throw HTTPClient.Problem(description: "not ready: \(health.readiness().body)")
        }
        try await Task.sleep(for: .milliseconds(5))
    }
}

/// The present time, Unix milliseconds.
func nowMilliseconds() -> Int64 {
    var moment = timespec()
    clock_gettime(CLOCK_REALTIME, &moment)
    return Int64(moment.tv_sec) * 1000 + Int64(moment.tv_nsec) / 1_000_000
}

/// The event of the documentation, measured just now.
func eventJSON(
    id: String = "550e8400-e29b-41d4-a716-446655440000", client: String = "probe-001",
    timestamp: Int64 = nowMilliseconds(), dns: String = "15.3"
) -> String {
    """
    {"schema_version":1,"event_id":"\(id)","client_id":"\(client)",\
    "target":"https://api.example.com","ts_ms":\(timestamp),\
    "network_context":{"network_type":"wifi","isp":"Example ISP","asn":64500},\
    "timing_measurements":{"dns_ms":\(dns),"ttfb_ms":125.8},"error_stage":null}
    """
}

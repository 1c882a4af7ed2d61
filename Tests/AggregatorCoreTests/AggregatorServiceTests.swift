import AggregatorCore
import Blocks
import Bus
import CoreMetrics
import Glibc
import Logging
import NATSClient
import OwnedThreads
import Postgres
import PrivateServers
import ServiceKit
import Store
import Telemetry
import TestKit
import Testing

private let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
private let deadline = Duration.seconds(30)

/// A stream to publish to, as `ingest` does it.
private final class Publisher: Sendable {
    let connector: NATSConnector
    let publisher: BlockPublisher

    init(_ url: String, streams: StreamSettings = StreamSettings()) throws {
        connector = NATSConnector(NATSOptions(urls: [url], name: "test"))
        let connection = try connector.waitUntilConnected(within: deadline)
        _ = try ensureStreams(streams, on: JetStream(connection))
        publisher = BlockPublisher(
            connector: connector, producer: UniqueID(high: 1, low: 1),
            settings: PublisherSettings())
        let publisher = publisher
        #expect(eventually { publisher.isAccepting })
    }

    deinit {
        publisher.stop()
        connector.stop()
    }

    /// Publishes events and waits until they are durable.
    func publish(_ events: [Event]) throws {
        let outcome = Monitor<Bool?>(nil)
        let receipt = PublishReceipt { result in
            outcome.update { if case .success = result { $0 = true } else { $0 = false } }
        }
        for event in events {
            let partition = Partitioning.standard.partition(ofClient: event.clientID.text)
            try publisher.append(partition: partition, to: receipt) { builder in
                builder.append(event, receivedAtMilliseconds: event.measuredAtMilliseconds + 20)
            }
        }
        publisher.commit(receipt)
        let isDurable = outcome.wait(until: .now + deadline) { $0 }
        #expect(isDurable == true)
    }

    func publish(_ text: String, on subject: String) throws {
        let connection = try connector.waitUntilConnected(within: deadline)
        _ = try connection.request(subject, payload: Array(text.utf8), timeout: deadline)
    }
}

/// Runs an aggregator while `body` runs.
private func withAggregator(
    nats: String, postgres: String, health: HealthRegistry = HealthRegistry(),
    _ body: () throws -> Void
) throws {
    let settings = try ServiceKit.Settings(
        AggregatorConfiguration.settings,
        values: [
            "nats-url": nats, "postgres-url": postgres, "flush-interval": "100ms",
            "lease": "3s", "instance-id": "test", "trim-interval": "100ms",
        ])
    let service = AggregatorService(
        configuration: try AggregatorConfiguration(settings),
        metrics: AggregatorMetrics(factory: NOOPMetricsHandler.instance),
        health: health, logger: logger)
    let stop = StopSignal()
    // Threads of their own: tests that wait occupy the cooperative ones.
    let threads = try service.makeThreads().map { name, body in
        OwnedThread(name: name) { try? body(stop) }
    }
    defer {
        stop.give()
        for thread in threads { thread.join() }
    }
    try body()
}

/// Unix milliseconds.
private func now() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

private func events(
    client: Name, numbers: ClosedRange<UInt64>, at milliseconds: Int64
) -> [Event] {
    numbers.map { number in
        var event = Event(
            id: UniqueID(high: 7, low: number), clientID: client, target: "https://a.example",
            measuredAtMilliseconds: milliseconds,
            context: NetworkContext(networkType: "wifi", isp: "Example ISP", asn: 64500),
            sequence: SessionSequence(session: UniqueID(high: 1, low: 1), number: number))
        event.metrics[.dns] = MetricValue(Double(number), of: .dns)
        event.metrics[.ttfb] = MetricValue(Double(number) * 10, of: .ttfb)
        return event
    }
}

/// One integer that a query returns.
private func number(_ sql: String, on url: String) throws -> Int64 {
    let connection = try PostgresConnection(to: PostgresConnectionString(url))
    defer { connection.close() }
    guard var row = try connection.query(sql).first else { return 0 }
    return try row.nextOptional(Int64.self) ?? 0
}

/// Waits until a query returns `value`. A database that is away for the moment has not returned it yet.
private func expect(_ sql: String, on url: String, becomes value: Int64) throws {
    let didBecome = eventually { (try? number(sql, on: url)) == value }
    #expect(didBecome, "\(sql)")
}

private let counted = "SELECT coalesce(sum(count_total), 0)::bigint FROM agg_1m"

@Test func `published events become rows, through crashes of every server`() throws {
    try withTemporaryFolder { folder in
        let nats = try NATSServer(.init(dataFolder: "\(folder)/nats"))
        defer { try? nats.kill() }
        var settings = PostgresServer.Settings(dataFolder: "\(folder)/postgres")
        settings.isDurable = false
        let postgres = try PostgresServer(settings)
        defer { try? postgres.kill() }
        let url = postgres.url
        _ = try Schema().migrate(PostgresConnection(to: PostgresConnectionString(url)))
        let publisher = try Publisher(nats.url)
        let time = now()

        try withAggregator(nats: nats.url, postgres: url) {
            try publisher.publish(events(client: "probe-1", numbers: 1...100, at: time))
            try publisher.publish(events(client: "probe-2", numbers: 1...50, at: time))
            try expect(counted, on: url, becomes: 150)

            // PostgreSQL dies with nothing but its log; the aggregator waits and goes on.
            try postgres.kill()
            try publisher.publish(events(client: "probe-1", numbers: 101...200, at: time))
            try postgres.restart()
            try expect(counted, on: url, becomes: 250)

            // A retry of what was counted, after NATS was killed too.
            try nats.kill()
            try nats.restart()
            _ = eventually { publisher.publisher.isAccepting }
            try publisher.publish(events(client: "probe-1", numbers: 150...210, at: time))
            try expect(counted, on: url, becomes: 260)
        }
        // What a stopped aggregator left is continued by the next.
        try publisher.publish(events(client: "probe-2", numbers: 51...60, at: time))
        try withAggregator(nats: nats.url, postgres: url) {
            try expect(counted, on: url, becomes: 270)
        }
        #expect(
            try number(
                "SELECT sum(events_duplicate)::bigint FROM partition_progress", on: url) == 51)
        #expect(try number("SELECT count(*) FROM probe_gaps", on: url) == 0)
        #expect(
            try number(
                "SELECT count(*) FROM agg_1m WHERE isp = 'Example ISP' AND ttfb_max >= 500",
                on: url) == 2)
    }
}

@Test func `plain messages and heartbeats of any NATS client are taken, others set aside`()
    throws
{
    try withTemporaryFolder { folder in
        let nats = try NATSServer(.init(dataFolder: "\(folder)/nats"))
        defer { try? nats.kill() }
        let publisher = try Publisher(nats.url)
        let time = now()
        try withSchema { url in
            let partition = Partitioning.standard.partition(ofClient: "plain")
            let subject = "telemetry.events.\(partition)"
            let event = """
                {"schema_version":1,"event_id":"550e8400-e29b-41d4-a716-446655440000",\
                "client_id":"plain","target":"https://a.example","ts_ms":\(time),\
                "timing_measurements":{"dns_ms":15.3}}
                """
            try publisher.publish(event, on: subject)
            try publisher.publish("[\(event),{\"client_id\":\"plain\"}]", on: subject)
            try publisher.publish("nonsense", on: subject)
            try publisher.publish(
                event, on: "telemetry.events.\((partition + 1) % Partitioning.defaultCount)")
            try publisher.publish(
                """
                {"client_id":"plain","ts_ms":\(time),"version":"9.9","recv_ts_ms":\(time),\
                "source_address":"192.0.2.1","labels":{"site":"a"}}
                """, on: "telemetry.heartbeats")
            try withAggregator(nats: nats.url, postgres: url) {
                try expect(counted, on: url, becomes: 1)
                #expect(
                    try eventually {
                        try number("SELECT count(*) FROM dead_letters", on: url) == 3
                    })
                let online = """
                    SELECT count(*) FROM probe_states WHERE version = '9.9' AND state = 'online'
                    """
                try expect(online, on: url, becomes: 1)
            }
            #expect(
                try number(
                    "SELECT sum(events_duplicate)::bigint FROM partition_progress", on: url) == 1)
        }
    }
}

@Test func `a small stream takes more than it holds, and loses nothing`() throws {
    try withTemporaryFolder { folder in
        let nats = try NATSServer(.init(dataFolder: "\(folder)/nats"))
        defer { try? nats.kill() }
        var streams = StreamSettings()
        streams.eventsByteCountMax = 1 << 20
        let publisher = try Publisher(nats.url, streams: streams)
        let time = now()
        try withSchema { url in
            try withAggregator(nats: nats.url, postgres: url) {
                // About 100 bytes an event: four times the stream's limit.
                for round in 0..<40 as Range<UInt64> {
                    let numbers = round * 1000 + 1...round * 1000 + 1000
                    try publisher.publish(events(client: "probe-1", numbers: numbers, at: time))
                    let total = Int64(round + 1) * 1000
                    try expect(counted, on: url, becomes: total)
                    usleep(150_000)
                }
            }
        }
        let connection = try publisher.connector.waitUntilConnected(within: deadline)
        let stream = try JetStream(connection).stream(named: BusStream.events)
        #expect(stream.firstSequence > 1)
        #expect(stream.byteCount < 1 << 20)
    }
}

private let schema = PostgresTemplate { url in
    _ = try Schema().migrate(PostgresConnection(to: PostgresConnectionString(url)))
}

private func withSchema(_ body: (String) throws -> Void) throws {
    try withPostgres(template: schema) { url in try body(url) }
}

@Test func `a database without our tables is said to want migrating`() throws {
    try withTemporaryFolder { folder in
        let nats = try NATSServer(.init(dataFolder: folder))
        defer { try? nats.kill() }
        try withPostgres { postgres in
            let health = HealthRegistry()
            try withAggregator(nats: nats.url, postgres: postgres, health: health) {
                let isSaid = eventually {
                    health.readiness().body.contains("run qoectl db migrate")
                }
                #expect(isSaid, "\(health.readiness().body)")
            }
        }
    }
}

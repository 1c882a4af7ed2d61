import AggregatorCore
import Blocks
import Bus
import CoreMetrics
import Foundation
import Logging
import NATSClient
import OperatorCore
import OwnedThreads
import Postgres
import PrivateServers
import ServiceKit
import Store
import Telemetry
import TestKit
import Testing

let limit = Duration.seconds(30)
private let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

let schema = PostgresTemplate { url in
    let connection = try PostgresConnection(to: PostgresConnectionString(url))
    defer { connection.close() }
    _ = try Schema().migrate(connection)
}

/// Both servers with streams and schema, and what publishes to them.
struct Platform {
    let nats: NATSServer
    let natsURL: String
    let postgresURL: String
    let connector: NATSConnector
    let database: PostgresConnection

    var connection: NATSConnection {
        get throws { try connector.waitUntilConnected(within: limit) }
    }
    var jetStream: JetStream { get throws { JetStream(try connection) } }

    static func run(_ body: (Platform) throws -> Void) throws {
        try withNATSServer { nats in
            try withPostgres(template: schema) { url in
                let connector = NATSConnector(NATSOptions(urls: [nats.url], name: "test"))
                defer { connector.stop() }
                let database = try PostgresConnection(to: PostgresConnectionString(url))
                defer { database.close() }
                let platform = Platform(
                    nats: nats, natsURL: nats.url, postgresURL: url, connector: connector,
                    database: database)
                _ = try ensureStreams(
                    StreamSettings(partitioning: Partitioning(count: 4)), on: platform.jetStream)
                try body(platform)
            }
        }
    }

    /// Publishes bytes to a partition and returns their sequence.
    @discardableResult
    func publish(_ bytes: [UInt8], partition: Int) throws -> UInt64 {
        let outcome = try publishConfirmed(
            bytes, to: BusSubject.events(partition: partition), stream: BusStream.events,
            over: connection, within: limit)
        guard case .stored(let sequence) = outcome else { throw OperatorError("\(outcome)") }
        return sequence
    }

    /// Publishes events of one client as a block.
    @discardableResult
    func publish(_ events: [Event]) throws -> UInt64 {
        let client = try #require(events.first).clientID.text
        let partition = try #require(Partitioning(count: 4)).partition(ofClient: client)
        return try publish(block(events, partition: partition), partition: partition)
    }

    /// Runs an aggregator while `body` runs.
    func aggregating(_ body: () throws -> Void) throws {
        let settings = try ServiceKit.Settings(
            AggregatorConfiguration.settings,
            values: [
                "nats-url": natsURL, "postgres-url": postgresURL, "flush-interval": "100ms",
                "lease": "3s", "instance-id": "test", "trim-interval": "3600s",
            ])
        let service = AggregatorService(
            configuration: try AggregatorConfiguration(settings),
            metrics: AggregatorMetrics(factory: NOOPMetricsHandler.instance),
            health: HealthRegistry(), logger: logger)
        let stop = StopSignal()
        let threads = try service.makeThreads().map { name, body in
            OwnedThread(name: name) { try? body(stop) }
        }
        defer {
            stop.give()
            for thread in threads { thread.join() }
        }
        try body()
    }

    /// Aggregates until a query returns `wanted`.
    func aggregate(until sql: String, is wanted: Int64) throws {
        try aggregating {
            let didBecome = try eventually { try number(sql) == wanted }
            #expect(didBecome, "\(sql)")
        }
    }

    func number(_ sql: String) throws -> Int64 {
        var row = try #require(try database.query(sql).first)
        return try row.nextOptional(Int64.self) ?? 0
    }

    func verify(minutes: Int? = nil) throws -> VerifyReport {
        try Verification(
            database: database, connector: connector, stop: try StopRequest()
        ).run(minutes: minutes)
    }
}

let eventsRead = "SELECT sum(events_read)::bigint FROM partition_progress"
let messagesRead = """
    SELECT sum(messages_read)::bigint FROM partition_progress WHERE stream = 'TELEMETRY_EVENTS'
    """

func block(_ events: [Event], partition: Int) -> [UInt8] {
    var builder = BlockBuilder(
        partition: partition, producer: UniqueID(high: 1, low: 1), byteCountMax: 1 << 20)
    for event in events {
        _ = builder.append(event, receivedAtMilliseconds: now() + 20)
    }
    return builder.seal(blockNumber: 1)
}

/// Unix milliseconds.
func now() -> Int64 { Int64(Date().timeIntervalSince1970 * 1000) }

func event(
    _ client: Name, _ id: UInt64, at milliseconds: Int64, number: UInt64? = nil
) -> Event {
    var event = Event(
        id: UniqueID(high: 5, low: id), clientID: client, target: "https://a.example",
        measuredAtMilliseconds: milliseconds,
        sequence: number.map { SessionSequence(session: UniqueID(high: 0, low: 7), number: $0) })
    event.metrics[.dns] = MetricValue(Double(id), of: .dns)
    return event
}

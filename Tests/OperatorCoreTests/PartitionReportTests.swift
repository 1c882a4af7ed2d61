import NATSClient
import OperatorCore
import Postgres
import Telemetry
import TestKit
import Testing

@Test func `a partition's line says how far it is and what is behind`() throws {
    try Platform.run { platform in
        let sequence = try platform.publish([event("numbered", 1, at: now(), number: 1)])
        try platform.aggregate(until: messagesRead, is: 1)
        for number in 2...4 as ClosedRange<UInt64> {
            try platform.publish([event("numbered", number, at: now(), number: number)])
        }
        let own = Partitioning(count: 4)?.partition(ofClient: "numbered")
        let other = (0..<4).first { $0 != own } ?? 0
        try platform.publish(Array("of another partition".utf8), partition: other)
        try platform.database.execute(
            """
            INSERT INTO lost_ranges VALUES ('TELEMETRY_EVENTS', 0, 1, 5, 9, now(), 'trimmed')
            """)
        let report = try PartitionReport(
            database: platform.database, connector: platform.connector)
        #expect(report.natsFailure == nil)
        let found = report.partitions.first {
            $0.partition == own && $0.stream == "TELEMETRY_EVENTS"
        }
        let partition = try #require(found)
        #expect(partition.state == "free")
        #expect(partition.owner == nil)
        #expect(partition.leaseSeconds == nil)
        #expect(partition.committedSequence == sequence)
        #expect(partition.eventsCounted == 1)
        #expect(partition.lag?.messages == 3)
        #expect(partition.lag?.lastSequence == sequence + 3)
        #expect((partition.lag?.seconds ?? -1) >= 0)
        #expect(report.lostRanges.map(\.reason) == ["trimmed"])
        #expect(report.partitions.reduce(0) { $0 + $1.lostRangeCount } == 1)
    }
}

@Test func `without NATS only the lag is unknown`() throws {
    try Platform.run { platform in
        try platform.publish([event("numbered", 1, at: now(), number: 1)])
        try platform.aggregate(until: messagesRead, is: 1)
        let nowhere = NATSConnector(NATSOptions(urls: ["nats://127.0.0.1:1"], name: "test"))
        defer { nowhere.stop() }
        let report = try PartitionReport(database: platform.database, connector: nowhere)
        #expect(!report.partitions.isEmpty)
        #expect(report.partitions.allSatisfy { $0.lag == nil })
        #expect(report.natsFailure?.contains("NATS") == true)
    }
}

@Test func `a database without a schema is told to be migrated`() throws {
    try withPostgres { url in
        let connection = try PostgresConnection(to: PostgresConnectionString(url))
        defer { connection.close() }
        let nowhere = NATSConnector(NATSOptions(urls: ["nats://127.0.0.1:1"], name: "test"))
        defer { nowhere.stop() }
        let error = #expect(throws: OperatorError.self) {
            try PartitionReport(database: connection, connector: nowhere)
        }
        #expect(error?.description.contains("qoectl db migrate") == true)
    }
}

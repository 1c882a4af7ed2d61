import Postgres
import Store
import Telemetry
import TestKit
import Testing
import Windowing

/// 2024-03-01 00:00 UTC; the day and its neighbours have partitions in every test.
let fixtureStartMilliseconds: Int64 = 1_709_251_200_000

/// Opens a connection to a test's database.
func connect(_ url: String) throws -> PostgresConnection {
    try PostgresConnection(to: PostgresConnectionString(url))
}

/// The schema of this program, with partitions for the fixtures' days alone: each one is a dozen
/// files that every test copies.
private let schema = PostgresTemplate { url in
    let connection = try connect(url)
    defer { connection.close() }
    _ = try Schema().migrate(connection)
    try connection.execute(
        """
        DO $$
        DECLARE partition regclass;
        BEGIN
            FOR partition IN SELECT inhrelid FROM pg_inherits
                WHERE inhparent IN ('agg_1m'::regclass, 'agg_1h'::regclass, 'agg_1d'::regclass,
                    'agg_dim_1h'::regclass, 'agg_dim_1d'::regclass)
            LOOP
                EXECUTE format('DROP TABLE %s', partition);
            END LOOP;
        END $$;
        SELECT qoe_ensure_partitions('2024-02-29', '2024-03-02');
        """)
}

/// Runs `body` with a migrated database.
func withSchema(_ body: (String) throws -> Void) throws {
    try withPostgres(template: schema, body)
}

/// Runs `body` with a store on a migrated database and a partition that it owns.
func withOwnedPartition(
    _ body: (AggregateStore, PartitionOwnership, String) throws -> Void
) throws {
    try withSchema { url in
        let store = try AggregateStore(connect(url))
        let owned = try #require(try acquire(store, owner: "a"))
        try body(store, owned.ownership, url)
    }
}

/// Acquires a partition of the stream `EVENTS`, or returns nil when another owner has it.
func acquire(
    _ store: AggregateStore, owner: String, partition: Int = 3, nonce: UInt64 = 1,
    lease: Duration = .seconds(60)
) throws -> OwnedPartition? {
    let answer = try store.acquirePartition(
        stream: "EVENTS", partition: partition, owner: owner, nonce: UniqueID(high: 7, low: nonce),
        lease: lease)
    guard case .acquired(let owned) = answer else { return nil }
    return owned
}

/// A batch from `expected` to `new` with nothing in it but what is given.
func batch(
    from expected: UInt64, to new: UInt64, cells: [CellRow] = [], sessions: [SessionRow] = [],
    deadLetters: [DeadLetter] = []
) -> FlushBatch {
    var progress = PartitionProgress()
    progress.committedSequence = new
    progress.committedBrokerMilliseconds = fixtureStartMilliseconds
    progress.replayFromSequence = expected + 1
    progress.completeThroughMilliseconds = fixtureStartMilliseconds - 1
    progress.counters.messages = Int64(new)
    return FlushBatch(
        expectedSequence: expected, progress: progress, cells: cells, sessions: sessions,
        deadLetters: deadLetters)
}

/// A cell with `count` random events.
func randomCell(_ random: inout SeededGenerator, events count: Int) -> Cell {
    var cell = Cell()
    for _ in 0..<count {
        let event = random.event()
        cell.count(errorStage: event.errorStage, isLate: random.chance(10))
        cell.update(
            context: event.context, measuredAtMilliseconds: event.measuredAtMilliseconds)
        for metric in Metric.allCases {
            if let value = event.metrics[metric] { cell.insert(value, of: metric) }
        }
    }
    return cell
}

func key(_ client: Name, _ target: Name = "t", minute: Int64 = 0) -> CellKey {
    let start = Window(containing: fixtureStartMilliseconds).minute
    return CellKey(client: client, target: target, window: Window(minute: start + minute))
}

/// The value of a query's single column and row.
func single<Value: PostgresType>(
    _ connection: PostgresConnection, _ sql: String, _ type: Value.Type = Value.self
) throws -> Value {
    var row = try #require(try connection.query(sql).first)
    return try row.next(type)
}

/// Runs `body` with the URL of a login of its own that is a member of `qoe_writer` and of nothing else.
func withWriterLogin(_ url: String, _ body: (String) throws -> Void) throws {
    let name = "writer_\(UInt32.random(in: 0 ... .max))"
    let connection = try connect(url)
    try connection.execute("CREATE ROLE \(name) LOGIN PASSWORD 'secret' IN ROLE qoe_writer")
    defer { try? connection.execute("DROP ROLE \(name)") }
    let parts = url.split(separator: "@", maxSplits: 1)
    try body("postgresql://\(name):secret@\(parts[1])")
}

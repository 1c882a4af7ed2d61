import OwnedThreads
import Postgres
import Synchronization
import Telemetry
import TestKit
import Testing
import Windowing

@testable import Store

@Suite struct SchemaTests {
    @Test func `migrating runs everything once`() throws {
        try withPostgres { url in
            let connection = try connect(url)
            let schema = Schema()
            #expect(try schema.status(connection).allSatisfy { $0.appliedAt == nil })
            #expect(try schema.migrate(connection) == Array(1...schema.version))
            #expect(try schema.migrate(connection) == [])
            #expect(try schema.status(connection).allSatisfy { $0.appliedAt != nil })
            try schema.requireCurrent(connection)
        }
    }

    @Test func `programs that migrate at once do it once`() throws {
        try withPostgres { url in
            let done = Mutex<[Result<[Int32], any Error>]>([])
            let threads = (0..<4).map { _ in
                OwnedThread(name: "migrate") {
                    let result = Result { try Schema().migrate(connect(url)) }
                    done.withLock { $0.append(result) }
                }
            }
            for thread in threads { thread.join() }
            let versions = try done.withLock { try $0.flatMap { try $0.get() } }
            #expect(versions.sorted() == Array(1...Schema().version))
        }
    }

    @Test func `a database that is newer than the program is refused`() throws {
        try withPostgres { url in
            let connection = try connect(url)
            _ = try Schema().migrate(connection)
            let known = Schema().version
            try connection.execute(
                "INSERT INTO schema_migrations VALUES (\(known + 1), 'later', '', now())")
            let refusal = SchemaError.databaseIsNewer(database: known + 1, program: known)
            #expect(throws: refusal) { try Schema().migrate(connection) }
            #expect(throws: refusal) { try Schema().requireCurrent(connection) }
        }
    }

    @Test func `a migration whose text has changed is refused`() throws {
        try withPostgres { url in
            let connection = try connect(url)
            let first = Migration(version: 1, name: "one", sql: "CREATE TABLE one ()")
            _ = try Schema(migrations: [first]).migrate(connection)
            let other = Migration(version: 1, name: "one", sql: "CREATE TABLE two ()")
            let second = Migration(version: 2, name: "two", sql: "CREATE TABLE two ()")
            #expect(throws: SchemaError.changed(version: 1, name: "one")) {
                try Schema(migrations: [other, second]).migrate(connection)
            }
            #expect(try !single(connection, "SELECT to_regclass('two') IS NOT NULL", Bool.self))
        }
    }

    @Test func `a migration that fails leaves nothing and can be run again`() throws {
        try withPostgres { url in
            let connection = try connect(url)
            let good = Migration(version: 1, name: "one", sql: "CREATE TABLE one ()")
            let bad = Migration(
                version: 2, name: "two", sql: "CREATE TABLE two (); SELECT 1 / 0")
            #expect(throws: SchemaError.self) {
                try Schema(migrations: [good, bad]).migrate(connection)
            }
            #expect(try !single(connection, "SELECT to_regclass('two') IS NOT NULL", Bool.self))
            let repaired = Migration(version: 2, name: "two", sql: "CREATE TABLE two ()")
            #expect(try Schema(migrations: [good, repaired]).migrate(connection) == [2])
        }
    }

    @Test func `a service refuses a database that is behind`() throws {
        try withPostgres { url in
            let connection = try connect(url)
            #expect(throws: SchemaError.behind(database: 0, program: Schema().version)) {
                try Schema().requireCurrent(connection)
            }
        }
    }

    @Test func `migrating while events are written loses none`() throws {
        try withPostgres { url in
            let connection = try connect(url)
            let before = Schema(migrations: Array(Migration.all.prefix(6)))
            _ = try before.migrate(connection)
            try connection.execute("SELECT qoe_ensure_partitions('2024-02-29', '2024-03-02')")
            let isMigrated = Mutex(false)
            let failures = Mutex<[String]>([])
            // A program of the version before, which goes on until it connects again.
            let writer = OwnedThread(name: "writer") {
                do {
                    let store = try AggregateStore(connect(url))
                    let owned = try #require(try acquire(store, owner: "a")).ownership
                    var sequence: UInt64 = 0
                    var remaining = 20
                    while remaining > 0 {
                        if isMigrated.withLock({ $0 }) { remaining -= 1 }
                        var cell = Cell()
                        cell.count(errorStage: nil, isLate: false)
                        let row = CellRow(
                            key: key("c", minute: Int64(sequence % 1000)), cell: cell,
                            lastSequence: sequence + 1)
                        do {
                            _ = try store.flush(
                                batch(from: sequence, to: sequence + 1, cells: [row]), by: owned)
                            sequence += 1
                        } catch FlushError.failed(let error) where error.retry == .retriable {
                            // What the aggregator does with a lock that it did not get.
                        }
                    }
                    #expect(try store.load(cells: [key("c", minute: 0)]).count == 1)
                    let rows = Int64(min(sequence, 1000))
                    #expect(
                        try single(connect(url), "SELECT count(*) FROM agg_1m", Int64.self) == rows)
                } catch {
                    failures.withLock { $0.append("\(error)") }
                }
            }
            #expect(
                eventually {
                    (try? single(connection, "SELECT count(*) > 20 FROM agg_1m", Bool.self)) == true
                })
            #expect(try Schema().migrate(connection) == Array(7...Schema().version))
            isMigrated.withLock { $0 = true }
            writer.join()
            #expect(failures.withLock { $0 } == [])
            // Nothing that was written before, meanwhile or after is missing in the hours.
            let store = try AggregateStore(connection)
            while let due = try store.rollups.due(hourDelay: .zero, dayDelay: .zero, limit: 99),
                !due.isEmpty
            {
                for rollup in due { _ = try store.rollups.make(rollup) }
            }
            let isSame = """
                SELECT (SELECT sum(count_total) FROM agg_1m) = (SELECT sum(count_total) FROM agg_1h)
                    AND (SELECT sum(count_total) FROM agg_1m) = (SELECT sum(count_total) FROM agg_1d)
                """
            #expect(try single(connection, isSame, Bool.self))
        }
    }

    @Test func `the checksums of released migrations are what databases remember`() {
        // A line that must change here means a migration that must not have changed.
        #expect(
            Migration.all.map(\.checksum) == [
                "f491db2d2bfd2564", "0aa68cd6cd77062b", "6d3b8ed197e47836", "feb9b408f6518560",
                "3a7d070291273514", "79659736881d8764",
                "be366dcbb3f9415c", "fcaf397aa57b84ea", "ebafb7ef48b0300c",
                "4ee0f0a268e9d247",
            ])
    }

    @Test func `every table, view and column has a comment`() throws {
        try withSchema { url in
            let connection = try connect(url)
            let missing = try connection.query(
                """
                SELECT c.relname || coalesce('.' || a.attname, '') FROM pg_class c
                LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
                    AND NOT a.attisdropped
                WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
                    AND NOT c.relispartition AND c.relname <> 'probe_states'
                    AND (col_description(c.oid, a.attnum) IS NULL
                        OR obj_description(c.oid, 'pg_class') IS NULL)
                """)
            let names = try missing.rows.map { row in
                var row = row
                return try row.next(String.self)
            }
            #expect(names == [])
        }
    }

    @Test func `the tables have a column for every metric and error stage`() throws {
        try withSchema { url in
            let connection = try connect(url)
            for column in CellColumns.all {
                let found = try single(
                    connection,
                    "SELECT count(*) FROM pg_attribute WHERE attrelid = 'agg_1m'::regclass "
                        + "AND attname = '\(column)'", Int64.self)
                #expect(found == 1, "\(column)")
            }
            let sent = try single(
                connection,
                "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute "
                    + "WHERE attrelid = (SELECT typrelid FROM pg_type WHERE typname = 'qoe_cell')",
                String.self)
            #expect(sent == CellColumns.all.joined(separator: ","))
        }
    }
}

@Suite struct PartitionTests {
    @Test func `partitions are made once, by UTC day, on both sides of today`() throws {
        try withSchema { url in
            let connection = try connect(url)
            let make = "SELECT qoe_ensure_partitions('2025-01-30', '2025-02-02')"
            #expect(try single(connection, make, Int32.self) == 4)
            #expect(try single(connection, make, Int32.self) == 0)
            let bounds = try single(
                connection,
                "SELECT pg_get_expr(relpartbound, oid) FROM pg_class "
                    + "WHERE relname = 'agg_1m_20250131'", String.self)
            try connection.execute("SET timezone = 'UTC'")
            #expect(bounds.contains("2025-01-31 00:00:00+00"))
            #expect(bounds.contains("2025-02-01 00:00:00+00"))
        }
    }

    @Test func `a new schema has partitions for a month back and a week ahead`() throws {
        try withPostgres { url in
            let connection = try connect(url)
            _ = try Schema().migrate(connection)
            let around = try single(
                connection,
                "SELECT bool_and(to_regclass('agg_1m_' || to_char(day, 'YYYYMMDD')) IS NOT NULL) "
                    + "FROM generate_series(now() AT TIME ZONE 'UTC' - interval '30 days', "
                    + "now() AT TIME ZONE 'UTC' + interval '7 days', interval '1 day') AS day",
                Bool.self)
            #expect(around)
        }
    }

    @Test func `partitions that several make at once are made once`() throws {
        try withSchema { url in
            let made = Mutex<[Result<Int32, any Error>]>([])
            let threads = (0..<4).map { _ in
                OwnedThread(name: "partitions") {
                    let result = Result {
                        try single(
                            connect(url),
                            "SELECT qoe_ensure_partitions('2025-03-01', '2025-03-20')", Int32.self)
                    }
                    made.withLock { $0.append(result) }
                }
            }
            for thread in threads { thread.join() }
            let total = try made.withLock { try $0.reduce(0) { try $0 + $1.get() } }
            #expect(total == 20)
        }
    }

    @Test func `a partition has the table's key and leaves room for updates`() throws {
        try withSchema { url in
            let connection = try connect(url)
            let options = try single(
                connection,
                "SELECT array_to_string(reloptions, ',') FROM pg_class "
                    + "WHERE relname = 'agg_1m_20240301'", String.self)
            #expect(options == "fillfactor=70")
            let indexes = try single(
                connection,
                "SELECT count(*) FROM pg_index WHERE indrelid = 'agg_1m_20240301'::regclass",
                Int64.self)
            #expect(indexes == 2)
        }
    }
}

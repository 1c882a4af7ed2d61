import Bus
import Glibc
import Postgres
import PrivateServers
import Store
import Telemetry

/// Reads where the partitions stand.
final class Progress {
    private let connection: PostgresConnection

    init(_ url: String) throws {
        connection = try PostgresConnection(to: PostgresConnectionString(url))
    }

    private static let statement = PostgresStatement(
        "progress",
        "SELECT partition::bigint, committed_seq FROM partition_progress WHERE stream = '\(BusStream.events)'"
    )

    func committed() throws -> [UInt64] {
        var committed = [UInt64](repeating: 0, count: Partitioning.standard.count)
        for var row in try connection.query(Self.statement).rows {
            let partition: Int64 = try row.next()
            let sequence: Int64 = try row.next()
            if committed.indices.contains(Int(partition)) {
                committed[Int(partition)] = UInt64(clamping: sequence)
            }
        }
        return committed
    }

    /// Rows of `agg_1m` inserted or updated since the database was made.
    func rowsWritten() throws -> Double {
        // The statistics of a session arrive a moment after it has ended.
        usleep(1_200_000)
        let result = try connection.query(
            """
            SELECT coalesce(sum(n_tup_ins + n_tup_upd), 0)::bigint FROM pg_stat_user_tables
            WHERE relname LIKE 'agg\\_1m\\_%'
            """)
        guard var row = result.first else { return 0 }
        return Double(try row.next(Int64.self))
    }
}

/// New databases with the schema, one after the other.
final class DatabaseSeries {
    let server: PostgresServer
    private var count = 0

    init(_ server: PostgresServer) {
        self.server = server
    }

    func make() throws -> String {
        count += 1
        try administer("CREATE DATABASE benchmark_\(count) OWNER \(server.settings.role)")
        let url = server.url(database: "benchmark_\(count)")
        let connection = try PostgresConnection(to: PostgresConnectionString(url))
        defer { connection.close() }
        _ = try Schema().migrate(connection)
        return url
    }

    /// Where the server's superuser reaches a database of the series.
    func superuserURL(of url: String) -> String {
        server.superuserURL(database: url.split(separator: "/").last.map(String.init) ?? "")
    }

    func drop(_ url: String) throws {
        guard let name = url.split(separator: "/").last else { return }
        try administer("DROP DATABASE \(name) WITH (FORCE)")
        try administer("CHECKPOINT")
    }

    func number(_ sql: String, _ url: String) throws -> Int64 {
        let connection = try PostgresConnection(to: PostgresConnectionString(url))
        defer { connection.close() }
        guard var row = try connection.query(sql).first else { return 0 }
        return try row.next()
    }

    private func administer(_ sql: String) throws {
        let connection = try PostgresConnection(
            to: PostgresConnectionString(server.superuserURL()))
        defer { connection.close() }
        try connection.execute(sql)
    }
}

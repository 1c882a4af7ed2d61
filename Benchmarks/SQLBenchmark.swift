import Glibc
import Postgres
import PrivateServers
import TestKit

/// Quantiles over many rows of `agg_1m` with the functions of the schema, on one core, against the cheapest thing to
/// ask of the same rows.
struct SQLBenchmark {
    var rowCount = 1_000_000
    var rounds = 5

    private struct Question {
        let name: String
        let sql: String
    }

    private static let questions = [
        Question(name: "sum(count_total)", sql: "SELECT sum(count_total)::bigint FROM agg_1m"),
        Question(
            name: "qoe_sketch_merge, p99 of all",
            sql: "SELECT qoe_sketch_quantile(qoe_sketch_merge(ttfb_sketch), 0.99) FROM agg_1m"),
        Question(
            name: "qoe_sketch_merge, p99 per target (100)",
            sql: """
                SELECT max(p99) FROM (
                    SELECT qoe_sketch_quantile(qoe_sketch_merge(ttfb_sketch), 0.99) AS p99
                    FROM agg_1m GROUP BY target) AS targets
                """),
        Question(
            name: "qoe_sketch_merge, p99 per probe (1000)",
            sql: """
                SELECT max(p99) FROM (
                    SELECT qoe_sketch_quantile(qoe_sketch_merge(ttfb_sketch), 0.99) AS p99
                    FROM agg_1m GROUP BY client_id) AS probes
                """),
        Question(
            name: "unnest and GROUP BY bucket, counts alone",
            sql: """
                SELECT max(total) FROM (
                    SELECT bin >> 40, sum(bin & 1099511627775) AS total
                    FROM (SELECT unnest(ttfb_sketch) AS bin FROM agg_1m) AS bins GROUP BY 1
                ) AS buckets
                """),
    ]

    func run() throws {
        print("SQL, \(rowCount) rows of agg_1m, no parallel workers, CPU time of the session")
        try withTemporaryFolder { folder in
            var settings = PostgresServer.Settings(dataFolder: folder)
            settings.parameters = AggregatorBenchmark.postgresParameters
            let postgres = try PostgresServer(settings)
            defer { try? postgres.kill() }
            let url = try DatabaseSeries(postgres).make()
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            try fill(connection)
            try measure(connection)
        }
        print("")
    }

    /// Sketches of a thousand kinds, of nine values each in some eight of sixty buckets.
    private func fill(_ connection: PostgresConnection) throws {
        try connection.execute(
            """
            SELECT setseed(0.5);
            CREATE TEMPORARY TABLE kinds AS
            SELECT kind, (SELECT array_agg(bucket << 40 | count ORDER BY bucket) FROM (
                SELECT 700 + floor(random() * 60)::bigint + kind * 0 AS bucket, count(*) AS count
                FROM generate_series(1, 9) GROUP BY 1) AS bins) AS sketch
            FROM generate_series(0, 999) AS kind;
            INSERT INTO agg_1m (client_id, target, window_start_ts, count_total, count_success,
                count_error, dns_error_count, tcp_error_count, tls_error_count, http_error_count,
                throughput_error_count, late_count, ttfb_count, ttfb_sketch, generation, last_seq,
                updated_at)
            SELECT 'probe-' || row % 1000, 'target-' || row / 1000 % 100,
                date_trunc('day', now()) + (row / 100000) * interval '1 minute', 9, 9, 0, 0, 0, 0,
                0, 0, 0, 9, sketch, 1, 1, now()
            FROM generate_series(0, \(rowCount - 1)) AS row
            JOIN kinds ON kind = (row * 7919::bigint) % 1000;
            SET max_parallel_workers_per_gather = 0;
            """)
        try connection.execute("VACUUM ANALYZE agg_1m")
    }

    private func measure(_ connection: PostgresConnection) throws {
        guard var row = try connection.query("SELECT pg_backend_pid()").first else { return }
        let backend: Int32 = try row.next()
        var seconds = Self.questions.map { _ in [Double]() }
        var cpuSeconds = seconds
        for round in 0...rounds {
            for (index, question) in Self.questions.enumerated() {
                let cpu = ProcessUsage.cpuSeconds(of: backend)
                let start = ContinuousClock.now
                _ = try connection.query(question.sql)
                let elapsed = ContinuousClock.now - start
                // The first round warms up.
                guard round > 0 else { continue }
                seconds[index].append(elapsed / .seconds(1))
                cpuSeconds[index].append(ProcessUsage.cpuSeconds(of: backend) - cpu)
            }
        }
        let base = max(0.01, median(cpuSeconds[0]))
        print(
            pad("", 44), pad("CPU s", -8), pad("rows/s CPU", -12), pad("of sum", -8),
            pad("clock s", -8))
        for (index, question) in Self.questions.enumerated() {
            let cpu = max(0.01, median(cpuSeconds[index]))
            print(
                pad(question.name, 44), pad(decimal(cpu, 2), -8),
                pad(decimal(Double(rowCount) / cpu, 0), -12), pad(decimal(cpu / base, 1), -8),
                pad(decimal(median(seconds[index]), 2), -8))
        }
    }
}

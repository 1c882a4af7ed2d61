import Glibc
import Postgres
import PrivateServers
import TestKit
import Windowing

/// The questions of docs/sql.md about hours and days, on what a fleet of a thousand clients and five targets leaves in a
/// year.
struct YearBenchmark {
    /// Days of `agg_1h` and `agg_dim_1h`, the last ones of the year; `agg_1d` and `agg_dim_1d` have all.
    var hourDays = 14
    var dayCount = 365
    var clones = 25
    var rounds = 3

    /// A day of so many clients is measured and rolled up, and then copied.
    private static let clientCount = 40
    private static let minutesPerDay: Int64 = 1440
    /// 2026-12-31 00:00 UTC: the last day of the year, minutes since the Unix epoch.
    private static let lastDay = Window(minute: 29_977_920)
    private static let document = "docs/sql.md"
    private static let tables = ["agg_1h", "agg_dim_1h", "agg_1d", "agg_dim_1d"]

    func run() throws {
        print(
            "Year: \(clones * Self.clientCount) clients × \(MadeRows.targets.count) targets,",
            "\(dayCount) days of agg_1d and agg_dim_1d, \(hourDays) days of agg_1h and agg_dim_1h")
        try withTemporaryFolder { folder in
            var settings = PostgresServer.Settings(dataFolder: folder)
            settings.parameters = AggregatorBenchmark.postgresParameters
            let postgres = try PostgresServer(settings)
            defer { try? postgres.kill() }
            let url = try DatabaseSeries(postgres).make()
            let writer = try BenchmarkWriter(url)
            try makeDay(writer)
            let cost = try writer.session.measure { try copyDay(writer.session) }
            print("copied in \(decimal(cost.seconds, 0)) s")
            let session = try MeasuredSession(url)
            try report(sizes: session)
            try ask(session)
        }
        print("")
    }

    private func makeDay(_ writer: BenchmarkWriter) throws {
        var made = MadeRows(seed: 4)
        var window = Self.lastDay
        try writer.ensurePartitions(from: window, to: window)
        while window.minute < Self.lastDay.minute + Self.minutesPerDay {
            let cells = made.minute(
                window, cells: Self.clientCount * MadeRows.targets.count,
                sequence: writer.sequence + 1)
            try writer.flush(cells)
            window = window.next
        }
        try writer.session.connection.execute(
            """
            ANALYZE agg_1m;
            SELECT qoe_ensure_rollup_partitions(\(Self.day) - \(dayCount), \(Self.day));
            SELECT qoe_roll('1h', hour) FROM generate_series(\(Self.day)::timestamptz,
                \(Self.day)::timestamptz + interval '23 hours', interval '1 hour') AS hour;
            SELECT qoe_roll('1d', \(Self.day)::timestamptz);
            """)
    }

    private static let day = "date '2026-12-31'"

    /// Makes many clients of the few, and all days of the last one.
    private func copyDay(_ session: MeasuredSession) throws {
        for table in Self.tables {
            let isByClient = table == "agg_1h" || table == "agg_1d"
            let days = table.hasSuffix("1h") ? hourDays : dayCount
            // Clone 0 of the last day is the original.
            let client =
                isByClient
                ? "client_id || CASE WHEN clone > 0 THEN '-' || clone ELSE '' END" : "key"
            let quoted = client.replacing("'", with: "''")
            try session.connection.execute(
                """
                CREATE TEMPORARY TABLE original AS TABLE \(table);
                DO $$
                DECLARE
                    others text := (SELECT string_agg(quote_ident(attname), ', ')
                        FROM pg_attribute WHERE attrelid = 'original'::regclass AND attnum > 0
                            AND attname NOT IN ('window_start_ts', '\(isByClient ? "client_id" : "key")'));
                BEGIN
                    FOR back IN 0..\(days - 1) LOOP
                        EXECUTE format('INSERT INTO \(table)
                            (window_start_ts, \(isByClient ? "client_id" : "key"), %1$s)
                            SELECT window_start_ts - back * interval ''1 day'', \(quoted), %1$s
                            FROM original
                            CROSS JOIN generate_series(0, \(isByClient ? clones - 1 : 0)) AS clone
                            CROSS JOIN (VALUES (%2$s)) AS days (back)
                            WHERE back > 0 OR clone > 0', others, back);
                    END LOOP;
                END $$;
                DROP TABLE original;
                """)
        }
        for table in Self.tables { try session.connection.execute("VACUUM ANALYZE \(table)") }
    }

    private static let sizes = [
        ("rows", "pg_relation_size(c.oid)"),
        ("TOAST", "coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0)"),
        ("indexes", "pg_indexes_size(c.oid)"),
    ]

    private func report(sizes session: MeasuredSession) throws {
        for table in Self.tables {
            let rows = try session.number("SELECT count(*) FROM \(table)")
            var total = 0.0
            var parts = ""
            for (name, size) in Self.sizes {
                let bytes = Double(
                    try session.number(
                        """
                        SELECT sum(\(size))::bigint FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid
                        WHERE inhparent = '\(table)'::regclass
                        """))
                total += bytes
                parts += ", \(name) \(decimal(bytes / Double(max(1, rows)), 0))"
            }
            print(
                pad(table, 12), pad("\(rows)", -10), "rows", pad(decimal(total / 1e9, 2), -7),
                "GB; bytes/row: \(decimal(total / Double(max(1, rows)), 0))\(parts)")
        }
        fflush(nil)
    }

    /// Asks what the catalogue asks of these tables, at the end of the year.
    private func ask(_ session: MeasuredSession) throws {
        try session.connection.execute("SET max_parallel_workers_per_gather = 0; SET jit = off")
        print(pad("", 64), pad("ms", -9), pad("CPU ms", -9), pad("rows", -5))
        for question in try questions() {
            var milliseconds: [Double] = []
            var cpu: [Double] = []
            var rows = 0
            for round in 0...rounds {
                var result: PostgresResult?
                let cost = try session.measure {
                    result = try session.connection.query(question.sql)
                }
                rows = result?.rowCount ?? 0
                guard round > 0 else { continue }
                milliseconds.append(cost.seconds * 1e3)
                cpu.append(cost.serverCPU * 1e3)
            }
            print(
                pad(question.name, 64), pad(decimal(median(milliseconds), 1), -9),
                pad(decimal(median(cpu), 0), -9), pad("\(rows)", -5))
            fflush(nil)
        }
    }

    private struct Question {
        let name: String
        let sql: String
    }

    /// The queries below headings of the catalogue that ask hours and days, with the year's end for `now()`.
    private func questions() throws -> [Question] {
        var questions: [Question] = []
        var heading = ""
        var lines: [String]?
        for line in try String(readingFile: Self.document).split(
            separator: "\n", omittingEmptySubsequences: false)
        {
            if line.hasPrefix("### ") {
                heading = String(line.dropFirst(4))
            } else if line == "```sql" {
                lines = []
            } else if line == "```", let sql = lines?.joined(separator: "\n") {
                lines = nil
                guard Self.tables.contains(where: { sql.contains("FROM \($0)") }) else { continue }
                let end = "(\(Self.day) + 1)::timestamptz"
                questions.append(
                    Question(
                        name: heading,
                        sql: sql.replacing("now()", with: end).replacing(";", with: "")))
            } else {
                lines?.append(String(line))
            }
        }
        return questions
    }
}

extension String {
    /// The text of a file; empty when it cannot be read.
    fileprivate init(readingFile path: String) throws {
        guard let file = fopen(path, "r") else {
            throw PostgresError(.unexpectedResult, "\(path) cannot be read: run from the package")
        }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            guard count > 0 else { break }
            bytes += buffer.prefix(count)
        }
        self = String(decoding: bytes, as: UTF8.self)
    }
}

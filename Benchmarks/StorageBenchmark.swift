import Glibc
import Postgres
import PrivateServers
import TestKit

/// Ways to keep a sketch in a column of plain PostgreSQL: size, cost of inserting, cost of merging.
struct StorageBenchmark {
    var rowCount = 100_000
    var mergeCount = 1_000_000
    var rounds = 3

    /// Metrics of a row.
    private static let columns = 6

    /// A way to keep a sketch.
    private struct Form {
        let name: String
        /// The type of its columns, each with a suffix of the column's name.
        let types: [(suffix: String, type: String)]
        /// Makes the columns' values of `buckets` and `counts`, two arrays of integers.
        let values: [String]
        /// A query for one sum per bucket over table `one` of one sketch per row.
        let merge: String
        /// One row in so many takes part in the merge, where a row takes long.
        var mergeShare = 1
    }

    private static let forms = [
        Form(
            name: "bigint[], bucket << 40 | count", types: [("", "bigint[]")],
            values: [
                "ARRAY(SELECT b::bigint << 40 | c FROM unnest(buckets, counts) AS u (b, c))"
            ],
            merge: """
                SELECT e >> 40 AS b, sum(e & 1099511627775) AS c
                FROM (SELECT unnest(s) AS e FROM one) AS u GROUP BY 1
                """),
        Form(
            name: "int[], bucket and count in turn", types: [("", "int[]")],
            values: [
                """
                ARRAY(SELECT unnest(ARRAY[b, c])
                    FROM unnest(buckets, counts) WITH ORDINALITY AS u (b, c, n) ORDER BY n)
                """
            ],
            merge: """
                SELECT s[i] AS b, sum(s[i + 1]) AS c
                FROM (SELECT s, generate_series(1, cardinality(s), 2) AS i FROM one) AS u GROUP BY 1
                """),
        Form(
            name: "two int[], buckets and counts", types: [("b", "int[]"), ("c", "int[]")],
            values: ["buckets", "counts"],
            merge: """
                SELECT b, sum(c) AS c
                FROM (SELECT unnest(sb) AS b, unnest(sc) AS c FROM one) AS u GROUP BY 1
                """),
        Form(
            name: "bytea, varints of steps and counts", types: [("", "bytea")],
            values: ["pack(buckets, counts)"],
            merge: """
                SELECT (e >> 40) AS b, sum(e & 1099511627775) AS c
                FROM (SELECT unnest(unpack(s)) AS e FROM one) AS u GROUP BY 1
                """,
            mergeShare: 20),
        Form(
            name: "jsonb, an object bucket: count", types: [("", "jsonb")],
            values: [
                "(SELECT jsonb_object_agg(b, c) FROM unnest(buckets, counts) AS u (b, c))"
            ],
            merge: """
                SELECT b::int, sum(c::int) AS c
                FROM (SELECT (jsonb_each_text(s)).key AS b, (jsonb_each_text(s)).value AS c FROM one)
                    AS u GROUP BY 1
                """,
            mergeShare: 5),
    ]

    func run() throws {
        print(
            "Storage: \(rowCount) rows of \(Self.columns) sketches (nine values in some eight",
            "buckets each), merge of \(mergeCount) sketches to sums per bucket; CPU of the session")
        print(
            pad("", 38), pad("bytes/row", -10), pad("of first", -9), pad("of an hour", -10),
            pad("insert µs/row", -14),
            pad("merge s/10^6", -13), pad("of first", -9))
        try withTemporaryFolder { folder in
            var settings = PostgresServer.Settings(dataFolder: folder)
            settings.parameters = AggregatorBenchmark.postgresParameters
            let postgres = try PostgresServer(settings)
            defer { try? postgres.kill() }
            let session = try MeasuredSession(try DatabaseSeries(postgres).make())
            try session.connection.execute(Self.preparation)
            var first: Result?
            for form in Self.forms {
                let result = try measure(form, session)
                let base = first ?? result
                first = base
                report(form.name, result, base)
            }
            if let first { report(Self.childName, try measureChild(session), first) }
        }
        print("")
    }

    private struct Result {
        let bytes: Double
        /// Of a row with the sketches of an hour: 540 values in 60 buckets.
        let hourBytes: Double?
        /// µs of CPU per row.
        let insert: Double
        /// s of CPU per million sketches.
        let merge: Double
    }

    private func report(_ name: String, _ result: Result, _ base: Result) {
        print(
            pad(name, 38), pad(decimal(result.bytes, 0), -10),
            pad(decimal(result.bytes / base.bytes, 2), -9),
            pad(result.hourBytes.map { decimal($0, 0) } ?? "", -10),
            pad(decimal(result.insert, 1), -14), pad(decimal(result.merge, 2), -13),
            pad(decimal(result.merge / base.merge, 1), -9))
        fflush(nil)
    }

    /// A thousand kinds of sketches, and packing as it would be in SQL: it is not what is measured.
    private static let preparation = """
        SET max_parallel_workers_per_gather = 0;
        SELECT setseed(0.5);
        \(kinds("kinds", values: 9))
        \(kinds("hour_kinds", values: 540))
        CREATE FUNCTION varint(value bigint) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
            SELECT string_agg(set_byte('\\x00', 0,
                ((value >> 7 * i) & 127 | CASE WHEN value >> 7 * (i + 1) > 0 THEN 128 ELSE 0 END)::int),
                '' ORDER BY i)
            FROM generate_series(0, 5) AS i WHERE i = 0 OR value >> 7 * i > 0
        $$;
        CREATE FUNCTION pack(buckets int[], counts int[]) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
            SELECT string_agg(varint(b - coalesce(before, 0)) || varint(c), '' ORDER BY n)
            FROM (SELECT b, c, n, lag(b) OVER (ORDER BY n) AS before
                FROM unnest(buckets, counts) WITH ORDINALITY AS u (b, c, n)) AS steps
        $$;
        CREATE FUNCTION unpack(packed bytea) RETURNS bigint[] LANGUAGE plpgsql IMMUTABLE AS $$
        DECLARE
            elements bigint[] := '{}';
            bucket bigint := 0;
            number bigint := 0;
            shift int := 0;
            is_count boolean := false;
            byte int;
        BEGIN
            FOR i IN 0..length(packed) - 1 LOOP
                byte := get_byte(packed, i);
                number := number | (byte & 127)::bigint << shift;
                shift := shift + 7;
                CONTINUE WHEN byte >= 128;
                IF is_count THEN elements := elements || (bucket << 40 | number);
                ELSE bucket := bucket + number; END IF;
                is_count := NOT is_count;
                number := 0;
                shift := 0;
            END LOOP;
            RETURN elements;
        END $$;
        """

    private static func kinds(_ table: String, values: Int) -> String {
        """
        CREATE TABLE \(table) AS
        SELECT kind, array_agg(bucket ORDER BY bucket) AS buckets,
            array_agg(count ORDER BY bucket) AS counts
        FROM (SELECT kind, 700 + floor(random() * 60)::int AS bucket, count(*)::int AS count
            FROM generate_series(0, 999) AS kind, generate_series(1, \(values)) GROUP BY 1, 2)
            AS bins
        GROUP BY kind;
        """
    }

    private func measure(
        _ form: Form, _ session: MeasuredSession
    ) throws -> Result {
        let names = form.types.map { "k\($0.suffix)" }.joined(separator: ", ")
        let made = zip(form.values, form.types).map { "\($0) AS k\($1.suffix)" }
        try session.connection.execute(
            """
            DROP TABLE IF EXISTS one, forms, hour_forms;
            CREATE TABLE forms AS SELECT kind, \(made.joined(separator: ", ")) FROM kinds;
            CREATE TABLE hour_forms AS SELECT kind, \(made.joined(separator: ", ")) FROM hour_kinds;
            """)
        // The same number of kinds for each column, drawn by a step that has no common factor with their number.
        let columns = (1...Self.columns).flatMap { column in
            form.types.map { "s\(column)\($0.suffix) \($0.type)" }
        }
        let sources = (1...Self.columns).flatMap { column in
            form.types.map { "f\(column).k\($0.suffix) AS s\(column)\($0.suffix)" }
        }
        func stage(_ forms: String, rows: Int) throws {
            let joins = (1...Self.columns).map { column in
                "JOIN \(forms) AS f\(column) ON f\(column).kind = (n * \(7919 + 2 * column)) % 1000"
            }
            try session.connection.execute(
                """
                DROP TABLE IF EXISTS staged, rows;
                CREATE TABLE rows (id bigint, \(columns.joined(separator: ", ")));
                CREATE TABLE staged AS SELECT n AS id, \(sources.joined(separator: ", "))
                FROM generate_series(0, \(rows - 1)::bigint) AS n \(joins.joined(separator: " "))
                """)
        }
        let hourRows = max(1, rowCount / 10)
        try stage("hour_forms", rows: hourRows)
        try session.connection.execute("INSERT INTO rows TABLE staged")
        let hourBytes = try session.number("SELECT pg_total_relation_size('rows')")
        try stage("forms", rows: rowCount)
        var inserts: [Double] = []
        for _ in 0..<rounds {
            try session.connection.execute("TRUNCATE rows")
            let cost = try session.measure("INSERT INTO rows TABLE staged")
            inserts.append(cost.serverCPU * 1e6 / Double(rowCount))
        }
        let bytes = try session.number("SELECT pg_total_relation_size('rows')")
        let count = mergeCount / form.mergeShare
        let aliased = form.types.map { "k\($0.suffix) AS s\($0.suffix)" }.joined(separator: ", ")
        try session.connection.execute(
            """
            CREATE TABLE one AS SELECT \(aliased)
            FROM generate_series(0, \(count - 1)::bigint) AS n
            JOIN (SELECT kind, \(names) FROM forms) AS f ON kind = (n * 7919) % 1000
            """)
        try session.connection.execute("VACUUM ANALYZE one")
        let merge = try mergeSeconds(form.merge, session) * Double(form.mergeShare)
        return Result(
            bytes: Double(bytes) / Double(rowCount),
            hourBytes: Double(hourBytes) / Double(hourRows), insert: median(inserts),
            merge: merge * 1e6 / Double(mergeCount))
    }

    private func mergeSeconds(_ sql: String, _ session: MeasuredSession) throws -> Double {
        var seconds: [Double] = []
        for _ in 0..<rounds {
            seconds.append(
                try session.measure("SELECT sum(b * c) FROM (\(sql)) AS buckets").serverCPU)
        }
        return median(seconds)
    }

    private static let childName = "a table of buckets: id, metric, bucket"

    private func measureChild(
        _ session: MeasuredSession
    ) throws -> Result {
        // As many sketches as are merged elsewhere would be eight million rows; a part is enough.
        let share = 5
        let count = rowCount / share
        try session.connection.execute(
            """
            CREATE TABLE buckets (id bigint, metric smallint, bucket int, count bigint,
                PRIMARY KEY (id, metric, bucket))
            """)
        let insert = try session.measure(
            """
            INSERT INTO buckets SELECT n, m, u.b, u.c
            FROM generate_series(0, \(count - 1)::bigint) AS n
            CROSS JOIN generate_series(1, \(Self.columns)) AS m
            JOIN kinds ON kind = (n * (7919 + 2 * m)) % 1000,
            unnest(buckets, counts) AS u (b, c)
            """)
        try session.connection.execute("VACUUM ANALYZE buckets")
        let bytes = try session.number("SELECT pg_total_relation_size('buckets')")
        let sketches = Double(count * Self.columns)
        let merge = try mergeSeconds(
            "SELECT bucket AS b, sum(count) AS c FROM buckets GROUP BY 1", session)
        return Result(
            bytes: Double(bytes) / Double(count), hourBytes: nil,
            insert: insert.serverCPU * 1e6 / Double(count), merge: merge * 1e6 / sketches)
    }
}

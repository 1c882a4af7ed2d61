import OperatorCore
import Postgres
import Store
import TestKit
import Testing

@Suite struct HousekeepingCommandTests {
    /// A database with a minute of today and one of 60 days ago, counted to now.
    private func withMinutes(_ body: (String, PostgresConnection) throws -> Void) throws {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            defer { connection.close() }
            _ = try Schema().migrate(connection)
            try connection.execute(
                """
                SELECT qoe_ensure_partitions(current_date - 60, current_date - 60);
                CREATE TEMPORARY TABLE minutes AS
                    SELECT date_trunc('minute', now()) - age AS minute
                    FROM unnest(ARRAY['0', '60 days']::interval[]) AS age;
                INSERT INTO agg_1m (client_id, target, window_start_ts, count_total, count_success,
                    count_error, dns_error_count, tcp_error_count, tls_error_count,
                    http_error_count, throughput_error_count, late_count, generation, last_seq,
                    updated_at)
                SELECT 'c', 't', minute, 3, 3, 0, 0, 0, 0, 0, 0, 0, 1, 1, now() FROM minutes;
                INSERT INTO window_changes SELECT 0, minute, 1, now() FROM minutes;
                INSERT INTO partition_progress (stream, partition, complete_through)
                    VALUES ('TELEMETRY_EVENTS', 0, now());
                """)
            try body(url, connection)
        }
    }

    private func number(_ connection: PostgresConnection, _ sql: String) throws -> Int64 {
        var row = try #require(try connection.query(sql).first)
        return try row.next()
    }

    @Test func `rollups can be made at once`() throws {
        try withMinutes { url, connection in
            let first = try Qoectl.run(["db", "rollup", "--postgres-url", url])
            #expect(first.code == 0, "\(first.complaints)")
            #expect(first.output.contains("1 rows changed"))
            // Two hours and two days.
            #expect(first.output.hasSuffix("made 4\n"), "\(first.output)")
            #expect(try number(connection, "SELECT sum(count_total)::bigint FROM agg_1d") == 6)
            let again = try Qoectl.run(["db", "rollup", "--postgres-url", url])
            #expect(again.output == "made 0\n")
        }
    }

    @Test func `retention says what it would remove, and removes it`() throws {
        try withMinutes { url, connection in
            let plan = try Qoectl.run(["db", "retain", "--dry-run", "--postgres-url", url])
            #expect(plan.code == 0, "\(plan.complaints)")
            #expect(plan.output.contains("would remove agg_1m_"))
            #expect(try number(connection, "SELECT count(*) FROM agg_1m") == 2)
            let done = try Qoectl.run(["db", "retain", "--postgres-url", url])
            #expect(done.code == 0, "\(done.complaints)")
            #expect(done.output.contains("removed agg_1m_"))
            #expect(done.output.contains("removed 1 rows of window_changes"))
            #expect(try number(connection, "SELECT count(*) FROM agg_1m") == 1)
            // What was removed had been made an hour before.
            #expect(try number(connection, "SELECT count(*) FROM agg_1h") == 1)
            let again = try Qoectl.run(["db", "retain", "--postgres-url", url])
            #expect(again.output.contains("nothing is old enough to be removed"))
        }
    }

    @Test func `without a counted log nothing is removed`() throws {
        try withMinutes { url, connection in
            try connection.execute("UPDATE partition_progress SET complete_through = NULL")
            let outcome = try Qoectl.run(["db", "retain", "--postgres-url", url])
            #expect(outcome.code == 0)
            #expect(outcome.output.contains("removed nothing: no aggregator has read every"))
            #expect(try number(connection, "SELECT count(*) FROM agg_1m") == 2)
        }
    }

    @Test func `a login without the role is told what it lacks`() throws {
        try withMinutes { url, connection in
            let name = "writer_\(UInt32.random(in: 0 ... .max))"
            try connection.execute("CREATE ROLE \(name) LOGIN PASSWORD 'x' IN ROLE qoe_writer")
            defer { try? connection.execute("DROP ROLE \(name)") }
            let login = "postgresql://\(name)@" + url.split(separator: "@", maxSplits: 1)[1]
            let outcome = try Qoectl.run(
                ["db", "retain", "--postgres-url", login], environment: ["PGPASSWORD": "x"])
            #expect(outcome.code == 1)
            #expect(outcome.complaints.contains("GRANT qoe_owner"))
            #expect(try number(connection, "SELECT count(*) FROM agg_1m") == 2)
            // A look at the database says so as well, once it has waited long enough.
            try connection.execute(
                "UPDATE retired_partitions SET retired_at = now() - interval '3 hours'")
            let check = try Qoectl.run(["db", "check", "--postgres-url", url])
            #expect(check.output.contains("WARN retention: 1 partitions are being removed"))
            #expect(check.output.contains("OK   rollups"))
        }
    }

    @Test(arguments: ["1h", "soon", "-3d"])
    func `a retention that makes no sense is refused`(text: String) throws {
        let outcome = try Qoectl.run(["db", "retain", "--retention-1m=\(text)"])
        #expect(outcome.code == 64)
        #expect(outcome.complaints.contains("--retention-1m '\(text)'"))
    }
}

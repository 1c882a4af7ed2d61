import Foundation
import OperatorCore
import OwnedThreads
import Postgres
import PrivateServers
import Store
import TestKit
import Testing

@Suite struct DatabaseCheckTests {
    /// A server of its own with our schema, and its superuser's connection.
    private func withServer(_ body: (PostgresServer, PostgresConnection) throws -> Void) throws {
        try withPostgresServer(configure: {
            $0.parameters = ["max_locks_per_transaction": "256"]
        }) { server in
            let owner = try PostgresConnection(to: PostgresConnectionString(server.url))
            _ = try Schema().migrate(owner)
            owner.close()
            let connection = try connect(server)
            defer { connection.close() }
            try body(server, connection)
        }
    }

    private func connect(_ server: PostgresServer) throws -> PostgresConnection {
        try PostgresConnection(
            to: PostgresConnectionString(server.superuserURL(database: "telemetry")))
    }

    private func check(
        _ server: PostgresServer, limits: CheckLimits = CheckLimits()
    ) throws -> [Finding] {
        let connection = try connect(server)
        defer { connection.close() }
        return try DatabaseCheck(connection, limits: limits).run()
    }

    /// The findings about one subject that are not well.
    private func complaints(_ findings: [Finding], _ subject: String) -> [Finding] {
        findings.filter { $0.subject == subject && $0.level != .ok }
    }

    @Test func `every fault is found, with what to do about it`() throws {
        try withServer { server, connection in
            var limits = CheckLimits()
            limits.deadRowsMin = 10
            limits.transactionSeconds = .init(0, 3_600)
            limits.horizonTransactions = .init(0, 1_000_000)
            // The private server does without a durable disk.
            let before = try check(server)
            #expect(
                complaints(before, "settings").contains { $0.message.hasPrefix("fsync is off") })
            for subject in [
                "schema", "partitions", "detached partitions", "freshness", "dead letters",
                "losses", "retention", "rollups", "replication slots", "transactions", "indexes",
                "dead rows", "archive",
                "transaction ids", "connections", "vacuum horizon", "replication", "size",
            ] {
                #expect(before.contains { $0.subject == subject }, "\(subject)")
                #expect(complaints(before, subject).isEmpty, "\(complaints(before, subject))")
            }

            // A day's partition is missing from the chain.
            try connection.execute(
                """
                DO $$ DECLARE tomorrow text := (SELECT c.oid::regclass::text
                    FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid
                    WHERE inhparent = 'agg_1m'::regclass AND pg_get_expr(relpartbound, c.oid)
                        LIKE format('FOR VALUES FROM (''%s%%',
                            (now() AT TIME ZONE 'UTC')::date + 1));
                BEGIN EXECUTE 'DROP TABLE ' || tomorrow; END $$;
                CREATE TABLE dirty (n int) WITH (autovacuum_enabled = off);
                INSERT INTO dirty SELECT generate_series(1, 100);
                DELETE FROM dirty;
                SELECT pg_stat_force_next_flush();
                SELECT pg_create_physical_replication_slot('forgotten', true);
                INSERT INTO dead_letters VALUES
                    ('S', 0, 1, -1, 'r', '', '', now() - interval '2 days');
                INSERT INTO rollup_queue (level, window_start_ts, noted_at) VALUES
                    ('1h', '2026-11-21 10:00Z', now() - interval '3 hours'),
                    ('1h', '2026-11-21 10:00Z', now());
                INSERT INTO retired_partitions VALUES ('agg_1m_old', now() - interval '2 days');
                INSERT INTO lost_ranges VALUES ('S', 0, 1, 5, 9, now() - interval '2 hours', 'x');
                INSERT INTO partition_progress (stream, partition, committed_seq, complete_through)
                    VALUES ('TELEMETRY_EVENTS', 3, 7, now() - interval '10 minutes');
                """)
            try connection.execute("INSERT INTO dirty VALUES (1), (1)")
            #expect(throws: PostgresError.self) {
                try connection.execute("CREATE UNIQUE INDEX CONCURRENTLY broken ON dirty (n)")
            }
            let sleeper = try connect(server)
            defer { sleeper.close() }
            try sleeper.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM agg_1m")
            try connection.execute("SELECT pg_current_xact_id()")
            // The removal of a partition waits for the reader above, and is given up half way.
            var oldest = try #require(
                try connection.query(
                    "SELECT min(inhrelid::regclass::text) FROM pg_inherits "
                        + "WHERE inhparent = 'agg_1m'::regclass"
                ).first)
            let leaving = try oldest.next(String.self)
            try connection.execute("SET statement_timeout = '500ms'")
            #expect(throws: PostgresError.self) {
                try connection.execute(
                    "ALTER TABLE agg_1m DETACH PARTITION \(leaving) CONCURRENTLY")
            }

            let findings = try check(server, limits: limits)
            let expected:
                [(subject: String, level: Finding.Level, message: String, advice: String)] =
                    [
                        ("partitions", .warning, "agg_1m has", "aggregator"),
                        ("dead rows", .critical, "of dirty", "VACUUM (VERBOSE) dirty"),
                        (
                            "replication slots", .warning, "slot forgotten is not in use",
                            "pg_drop_replication_slot('forgotten')"
                        ),
                        ("indexes", .warning, "broken is not valid", "CONCURRENTLY broken"),
                        ("transactions", .warning, "idle in transaction", "pg_terminate_backend("),
                        ("vacuum horizon", .warning, "holds it back", "end the session"),
                        ("detached partitions", .warning, leaving, "FINALIZE"),
                        ("dead letters", .critical, "1 wait", "aggregators forward"),
                        ("rollups", .warning, "1 hours and days wait", "aggregators make them"),
                        ("retention", .critical, "such as agg_1m_old", "long transaction"),
                        ("losses", .critical, "1 ranges", "--lost"),
                        (
                            "freshness", .warning, "TELEMETRY_EVENTS/3 is complete",
                            "qoectl partitions"
                        ),
                    ]
            for (subject, level, message, advice) in expected {
                let found = findings.first {
                    $0.subject == subject && $0.message.contains(message)
                }
                #expect(found?.level == level, "\(subject): \(findings)")
                #expect(found?.advice?.contains(advice) == true, "\(subject): \(findings)")
            }

            let outcome = try Qoectl.run([
                "db", "check", "--postgres-url", server.superuserURL(database: "telemetry"),
            ])
            #expect(outcome.code == 2, "\(outcome)")
            #expect(outcome.output.contains("CRIT losses: 1 ranges of the streams were lost"))
            print(outcome.output)
        }
    }

    @Test func `today's missing partition is critical`() throws {
        try withPostgres(template: schema) { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            try connection.execute(
                """
                DO $$ DECLARE t text; BEGIN
                    FOR t IN SELECT inhrelid::regclass::text FROM pg_inherits
                        WHERE inhparent = 'agg_1m'::regclass
                    LOOP EXECUTE 'DROP TABLE ' || t; END LOOP; END $$
                """)
            let findings = try DatabaseCheck(connection).run()
            let found = findings.first {
                $0.subject == "partitions" && $0.message.contains("agg_1m")
            }
            #expect(found?.level == .critical)
            #expect(found?.message == "agg_1m has no partition for now")
        }
    }

    @Test func `what a role may not see is said, and is no alarm`() throws {
        try withPostgres(template: schema) { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            let findings = try DatabaseCheck(connection).run()
            for subject in ["replication", "transactions", "vacuum horizon", "disk"] {
                let found = findings.filter { $0.subject == subject }
                #expect(found.map(\.level) == [.unseen], "\(subject)")
                #expect(found.first?.message == "cannot see: needs pg_monitor")
                #expect(found.first?.advice == "as a superuser: GRANT pg_monitor TO qoe")
            }
            #expect(Finding.Level.unseen.exitCode == 0)
        }
    }

    @Test func `a database without our tables is critical, and a missing one no answer`() throws {
        try withPostgres { url in
            let outcome = try Qoectl.run(["db", "check", "--json", "--postgres-url", url])
            #expect(outcome.code == 2)
            let findings = try #require(
                try JSONSerialization.jsonObject(with: Data(outcome.output.utf8))
                    as? [[String: Any]])
            let schema = findings.first { $0["subject"] as? String == "schema" }
            #expect(schema?["level"] as? String == "CRIT")
            #expect(schema?["advice"] as? String == "run qoectl db migrate")
            #expect(!findings.contains { $0["subject"] as? String == "freshness" })
        }
        let nowhere = try Qoectl.run(
            ["db", "check", "--postgres-url", "postgresql://qoe@127.0.0.1:1/none"])
        #expect(nowhere.code == 2)
        #expect(nowhere.complaints.contains("cannot connect"))
    }

    @Test func `a replica says how far it is behind, and its primary does too`() throws {
        try withTemporaryFolder { folder in
            try withServer { primary, _ in
                var settings = PostgresServer.Settings(dataFolder: "\(folder)/replica")
                settings.isDurable = false
                settings.primaryURL = primary.superuserURL()
                settings.parameters = ["max_locks_per_transaction": "256"]
                let replica = try PostgresServer(settings)
                defer { try? replica.kill() }
                try primary.awaitReplay(by: replica)
                let seen = try check(primary).filter { $0.subject == "replication" }
                #expect(seen.map(\.level) == [.ok])
                #expect(seen.first?.message.contains("is streaming (async)") == true, "\(seen)")
                let own = try check(replica)
                #expect(complaints(own, "replication").isEmpty, "\(own)")
                #expect(complaints(own, "dead rows").map(\.level) == [.unseen])
                #expect(complaints(own, "schema").isEmpty)
                try primary.kill()
                #expect(
                    try eventually {
                        complaints(try check(replica), "replication").first?.level == .critical
                    })
            }
        }
    }
}

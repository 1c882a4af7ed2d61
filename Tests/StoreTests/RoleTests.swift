import Postgres
import Store
import Telemetry
import TestKit
import Testing
import Windowing

/// The URL of a session that may do what `role` may.
private func url(_ url: String, as role: String) -> String {
    url + (url.contains("?") ? "&" : "?") + "options=-c%20role%3D\(role)"
}

/// A schema whose login may act as all of its roles.
private func withRoles(_ body: (String) throws -> Void) throws {
    try withSchema { url in
        // Roles are the cluster's, which all tests share.
        try retryingConflicts { try connect(url).execute("GRANT qoe_writer, qoe_reader TO qoe") }
        try body(url)
    }
}

private func retryingConflicts(_ body: () throws -> Void) throws {
    for _ in 0..<20 {
        do { return try body() } catch is PostgresError {}
    }
    try body()
}

@Suite struct RoleTests {
    @Test func `a writer can do all that aggregator and diagnoser do`() throws {
        try withSchema { database in
            try withWriterLogin(database) { login in
                let store = try AggregateStore(connect(login))
                let owned = try #require(try acquire(store, owner: "a")).ownership
                _ = try store.serverIdentity()
                var random = SeededGenerator(seed: 3)
                let row = CellRow(
                    key: key("c"), cell: randomCell(&random, events: 4), lastSequence: 1)
                let flush = batch(
                    from: 0, to: 1, cells: [row],
                    sessions: [
                        SessionRow(key: SessionKey(client: "c", session: .zero), lastSequence: 1)
                    ], deadLetters: [DeadLetter(sequence: 1, index: 0, reason: "r", detail: "d")])
                #expect(try store.flush(flush, by: owned).blockedCells == 0)
                _ = try store.deadLetters.forward(limit: 1) { [$0[0].key: 7] }
                try store.ensurePartition(ofDay: 19_000)
                _ = try store.retention.ensurePartitions(daysAhead: 2)
                for rollup in try #require(
                    try store.rollups.due(hourDelay: .zero, dayDelay: .zero, limit: 9))
                {
                    #expect(try store.rollups.make(rollup) == .made(changedRows: 1))
                }
                let diagnoses = DiagnosisStore(try connect(login))
                let labels = try diagnoses.undiagnosedRows(of: row.key.window).map {
                    DiagnosisLabel(key: $0.row.key, label: "healthy", updatedAt: $0.updatedAt)
                }
                #expect(try diagnoses.write(labels) == 1)
                _ = try store.retention.forgetSessions(silentSince: .distantPast)
                _ = try store.release(owned)
            }
        }
    }

    @Test(arguments: [
        "DROP TABLE agg_1m_20240301", "TRUNCATE agg_1m", "DELETE FROM agg_1m",
        "ALTER TABLE agg_1m DETACH PARTITION agg_1m_20240301", "DELETE FROM partition_progress",
        "CREATE TABLE mine ()", "DELETE FROM schema_migrations", "DELETE FROM agg_1h",
    ])
    func `a writer cannot remove what is counted`(_ statement: String) throws {
        try withRoles { database in
            let connection = try connect(url(database, as: "qoe_writer"))
            let error = #expect(throws: PostgresError.self) { try connection.execute(statement) }
            #expect(error?.code == .server(.insufficientPrivilege), "\(statement)")
        }
    }

    @Test func `a reader can ask everything and change nothing`() throws {
        try withRoles { database in
            let owner = try connect(database)
            let connection = try connect(url(database, as: "qoe_reader"))
            var tables = try owner.query(
                """
                SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p', 'v')
                    AND relnamespace = current_schema()::regnamespace ORDER BY 1
                """
            ).rows.map { row in
                var row = row
                return try row.next(String.self)
            }
            #expect(tables.contains("agg_1h") && tables.contains("agg_1m_20240301"))
            // Partitions that are made later can be read by themselves as well.
            try owner.execute("SELECT qoe_ensure_partitions('2024-05-05', '2024-05-05')")
            tables.append("agg_1m_20240505")
            for table in tables {
                try connection.execute("SELECT count(*) FROM \(table)")
                let kinds = ["INSERT INTO \(table) DEFAULT VALUES", "DELETE FROM \(table)"]
                for statement in kinds {
                    #expect(throws: PostgresError.self, "\(statement)") {
                        try connection.execute(statement)
                    }
                }
            }
            try connection.execute(
                "SELECT qoe_sketch_quantile(qoe_sketch_merge(ttfb_sketch), 0.99) FROM agg_1m")
            for call in [
                "qoe_ensure_partitions('2024-05-05', '2024-05-06')",
                "qoe_ensure_rollup_partitions('2024-05-05', '2024-05-06')",
                "qoe_roll('1h', '2024-03-01 00:00+00')",
            ] {
                let error = #expect(throws: PostgresError.self) {
                    try connection.execute("SELECT \(call)")
                }
                #expect(error?.code == .server(.insufficientPrivilege), "\(call)")
            }
        }
    }

    @Test func `everything belongs to the owner's role`() throws {
        try withRoles { database in
            let others = try single(
                connect(database),
                """
                SELECT coalesce(string_agg(name, ', '), '') FROM (
                    SELECT relname::text AS name, relowner AS owner FROM pg_class
                    WHERE relnamespace = current_schema()::regnamespace AND relkind <> 'c'
                    UNION ALL
                    SELECT proname, proowner FROM pg_proc
                    WHERE pronamespace = current_schema()::regnamespace
                ) AS objects WHERE owner <> 'qoe_owner'::regrole
                """, String.self)
            #expect(others == "")
        }
    }
}

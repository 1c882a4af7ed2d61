import Postgres
import PrivateServers
import Telemetry
import TestKit
import Testing
import Windowing

@testable import Store

@Suite struct FlushTests {
    @Test(arguments: [
        "UPDATE partition_progress SET owner_nonce = gen_random_uuid()",
        "UPDATE partition_progress SET epoch = epoch + 1",
        "UPDATE partition_progress SET generation = generation + 1",
        "UPDATE partition_progress SET committed_seq = 1",
        "UPDATE partition_progress SET owner_nonce = NULL",
        "DELETE FROM partition_progress",
    ])
    func `a fenced flush writes nothing`(sabotage: String) throws {
        try withOwnedPartition { store, ownership, url in
            let observer = try connect(url)
            try observer.execute(sabotage)
            var session = SessionRow(key: SessionKey(client: "c", session: .zero))
            _ = session.counted.insert(1)
            let full = batch(
                from: 0, to: 5, cells: [CellRow(key: key("c"), cell: Cell(), lastSequence: 5)],
                sessions: [session],
                deadLetters: [DeadLetter(sequence: 5, index: -1, reason: "r", detail: "d")])
            #expect(throws: FlushError.fenced) { try store.flush(full, by: ownership) }
            for table in ["agg_1m", "probe_sessions", "window_changes", "dead_letters"] {
                #expect(try single(observer, "SELECT count(*) FROM \(table)", Int64.self) == 0)
            }
            // The session has recovered from the failed transaction.
            #expect(try store.load(cells: [key("c")]) == [])
        }
    }

    @Test func `the same flush twice is done once`() throws {
        try withOwnedPartition { store, ownership, _ in
            let once = batch(
                from: 0, to: 5, cells: [CellRow(key: key("c"), cell: Cell(), lastSequence: 5)])
            let receipt = try store.flush(once, by: ownership)
            #expect(receipt == FlushReceipt())
            #expect(throws: FlushError.fenced) { try store.flush(once, by: ownership) }
            #expect(try store.outcome(of: once, by: ownership) == .committed)
        }
    }

    @Test func `a row from a newer message is left alone and counted`() throws {
        try withOwnedPartition { store, ownership, url in
            var random = SeededGenerator(seed: 1)
            let newer = CellRow(
                key: key("c"), cell: randomCell(&random, events: 3), lastSequence: 9)
            _ = try store.flush(batch(from: 0, to: 9, cells: [newer]), by: ownership)
            let older = CellRow(
                key: key("c"), cell: randomCell(&random, events: 1), lastSequence: 8)
            let other = CellRow(
                key: key("d"), cell: randomCell(&random, events: 1), lastSequence: 8)
            let receipt = try store.flush(
                batch(from: 9, to: 10, cells: [older, other]), by: ownership)
            #expect(receipt.blockedCells == 1)
            #expect(Set(try store.load(cells: [key("c"), key("d")])) == [newer, other])
        }
    }

    @Test func `what is loaded is what was flushed, bit for bit`() throws {
        try withSchema { url in
            let store = try AggregateStore(connect(url))
            for seed in 0..<60 as Range<UInt64> { try roundTrip(store, seed: seed) }
        }
    }

    /// Flushes and loads what `seed` makes, in a partition and under names of its own.
    private func roundTrip(_ store: AggregateStore, seed: UInt64) throws {
        let owned = try #require(try acquire(store, owner: "a", partition: Int(seed)))
        let ownership = owned.ownership
        var random = SeededGenerator(seed: seed)
        let cells = randomCells(&random, prefix: "\(seed) ")
        let sessions = randomSessions(&random, prefix: "\(seed) ")
        let written = batch(
            from: 0, to: 7, cells: cells.values.sorted { $0.key < $1.key },
            sessions: sessions.values.sorted { $0.key < $1.key })
        #expect(try store.flush(written, by: ownership) == FlushReceipt(), "seed \(seed)")

        let absent = [key("nobody"), key("nobody", minute: 2_000_000)]
        let loaded = try store.load(cells: cells.keys + absent)
        #expect(Set(loaded) == Set(cells.values), "seed \(seed)")
        #expect(loaded.count == cells.count, "seed \(seed)")
        let none = SessionKey(client: "nobody", session: .zero)
        let loadedSessions = try store.load(sessions: sessions.keys + [none])
        #expect(Set(loadedSessions) == Set(sessions.values), "seed \(seed)")
        #expect(try store.progress(of: ownership) == written.progress, "seed \(seed)")

        // Written over the rows that are there, the result is the same.
        let again = batch(from: 7, to: 8, cells: written.cells, sessions: written.sessions)
        #expect(try store.flush(again, by: ownership) == FlushReceipt(), "seed \(seed)")
        let reloaded = try store.load(cells: Array(cells.keys))
        #expect(Set(reloaded) == Set(cells.values), "seed \(seed)")
    }

    private func randomCells(
        _ random: inout SeededGenerator, prefix: String
    ) -> [CellKey: CellRow] {
        var cells: [CellKey: CellRow] = [:]
        for _ in 0..<Int.random(in: 1...30, using: &random) {
            let event = random.event()
            let key = key(
                Name(prefix + event.clientID.text), event.target,
                minute: .random(in: -1_440...2_879, using: &random))
            let events = random.chance(10) ? 300 : Int.random(in: 0...4, using: &random)
            cells[key] = CellRow(
                key: key, cell: randomCell(&random, events: events),
                lastSequence: .random(in: 0...(1 << 62), using: &random))
        }
        return cells
    }

    private func randomSessions(
        _ random: inout SeededGenerator, prefix: String
    ) -> [SessionKey: SessionRow] {
        var sessions: [SessionKey: SessionRow] = [:]
        for _ in 0..<Int.random(in: 0...10, using: &random) {
            let client = Name(prefix + random.event().clientID.text)
            let key = SessionKey(client: client, session: .random(using: &random))
            var row = SessionRow(key: key, lastSequence: .random(in: 0...(1 << 62), using: &random))
            for _ in 0..<Int.random(in: 0...20, using: &random) {
                let number = UInt64.random(
                    in: 1...(random.chance(50) ? 30 : SessionSequence.maximumNumber),
                    using: &random)
                guard row.counted.insert(number) == .inserted else {
                    row.duplicates += 1
                    continue
                }
                row.events += 1
                let measured = Int64.random(in: 0...4_000_000_000_000, using: &random)
                row.firstMeasuredAtMilliseconds = min(row.firstMeasuredAtMilliseconds, measured)
                row.lastMeasuredAtMilliseconds = max(row.lastMeasuredAtMilliseconds, measured)
            }
            sessions[key] = row
        }
        return sessions
    }

    @Test func `the columns say in their units what the cell says in integers`() throws {
        try withOwnedPartition { store, ownership, url in
            var cell = Cell()
            for milliseconds in [10.0, 20, 30.000_001] {
                cell.count(errorStage: nil, isLate: false)
                let value = try #require(MetricValue(milliseconds, of: .dns))
                cell.insert(value, of: .dns)
            }
            let row = CellRow(key: key("c"), cell: cell, lastSequence: 1)
            _ = try store.flush(batch(from: 0, to: 1, cells: [row]), by: ownership)
            let text = try single(
                connect(url),
                """
                SELECT concat_ws(' ', dns_count, dns_sum, dns_min, dns_max,
                    dns_p50 BETWEEN 19.8 AND 20.2, dns_p99 <= dns_max, cardinality(dns_sketch),
                    tcp_count, coalesce(tcp_sum::text, 'null'), coalesce(tcp_min::text, 'null'),
                    coalesce(tcp_p50::text, 'null'), coalesce(tcp_sketch::text, 'null'),
                    coalesce(isp, 'null'))
                FROM agg_1m
                """, String.self)
            #expect(text == "3 60000001 10 30.000001 t t 3 0 null null null null null")
        }
    }

    @Test func `the diagnosis stays when the aggregate changes`() throws {
        try withOwnedPartition { store, ownership, url in
            let row = CellRow(key: key("c"), cell: Cell(), lastSequence: 1)
            _ = try store.flush(batch(from: 0, to: 1, cells: [row]), by: ownership)
            let observer = try connect(url)
            try observer.execute(
                "UPDATE agg_1m SET diagnosis_label = 'dns_slow', diagnosed_at = updated_at")
            _ = try store.flush(batch(from: 1, to: 2, cells: [row]), by: ownership)
            #expect(
                try single(observer, "SELECT diagnosis_label FROM agg_1m", String.self)
                    == "dns_slow")
            #expect(
                try single(observer, "SELECT diagnosed_at < updated_at FROM agg_1m", Bool.self))
        }
    }

    @Test func `an event whose day has no partition fails the flush for good`() throws {
        try withOwnedPartition { store, ownership, _ in
            let row = CellRow(key: key("c", minute: -3_000_000), cell: Cell(), lastSequence: 1)
            let error = #expect(throws: FlushError.self) {
                try store.flush(batch(from: 0, to: 1, cells: [row]), by: ownership)
            }
            guard case .failed(let cause) = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(cause.code == .server(.checkViolation))
            #expect(cause.retry == .permanent)
        }
    }

    @Test func `a dead letter is kept once, whatever bytes it has`() throws {
        try withOwnedPartition { store, ownership, url in
            let letter = DeadLetter(
                sequence: 4, index: -1, reason: "not_a_block", detail: "a\0b",
                payload: [UInt8](repeating: 0, count: 10_000))
            _ = try store.flush(batch(from: 0, to: 4, deadLetters: [letter]), by: ownership)
            _ = try store.flush(batch(from: 4, to: 5, deadLetters: [letter]), by: ownership)
            let observer = try connect(url)
            #expect(try single(observer, "SELECT count(*) FROM dead_letters", Int64.self) == 1)
            #expect(
                try single(
                    observer, "SELECT octet_length(payload)::bigint FROM dead_letters", Int64.self)
                    == 4096)
        }
    }

    @Test func `an answer to COMMIT that is lost is resolved by asking`() throws {
        try withOwnedPartition { store, ownership, url in
            let observer = try connect(url)
            try observer.execute(
                """
                CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
                CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON dead_letters
                    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle();
                """)
            let written = batch(
                from: 0, to: 4,
                deadLetters: [DeadLetter(sequence: 4, index: -1, reason: "r", detail: "d")])
            store.connection.timeout = .milliseconds(200)
            let error = #expect(throws: FlushError.self) { try store.flush(written, by: ownership) }
            guard case .unknownOutcome = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            let next = try AggregateStore(connect(url))
            #expect(try eventually { try next.outcome(of: written, by: ownership) == .committed })
            #expect(
                try next.outcome(of: batch(from: 4, to: 6), by: ownership) == .notCommitted)
            #expect(try next.outcome(of: batch(from: 5, to: 6), by: ownership) == .fenced)
        }
    }

    @Test func `a server that was killed has all that was flushed, and the next flush works`()
        throws
    {
        try withPostgresServer { server in
            let connection = try connect(server.url)
            _ = try Schema().migrate(connection)
            try connection.execute("SELECT qoe_ensure_partitions('2024-03-01', '2024-03-01')")
            let store = try AggregateStore(connection)
            let owned = try #require(try acquire(store, owner: "a"))
            var random = SeededGenerator(seed: 5)
            let row = CellRow(key: key("c"), cell: randomCell(&random, events: 9), lastSequence: 1)
            _ = try store.flush(batch(from: 0, to: 1, cells: [row]), by: owned.ownership)

            try server.kill()
            let error = #expect(throws: FlushError.self) {
                try store.flush(batch(from: 1, to: 2, cells: [row]), by: owned.ownership)
            }
            let cause: PostgresError? =
                switch error {
                case .failed(let cause), .unknownOutcome(let cause): cause
                case .fenced, nil: nil
                }
            #expect(cause?.needsNewConnection == true)
            #expect(cause?.retry != .permanent)

            try server.restart()
            let next = try AggregateStore(connect(server.url))
            #expect(try next.load(cells: [row.key]) == [row])
            let retry = batch(from: 1, to: 2, cells: [row])
            #expect(try next.outcome(of: retry, by: owned.ownership) == .notCommitted)
            #expect(try next.flush(retry, by: owned.ownership) == FlushReceipt())
        }
    }
}

/// The plans that make loading and labelling cheap however large the tables grow.
@Suite struct PlanTests {
    private func plan(
        _ connection: PostgresConnection, _ statement: PostgresStatement, _ arguments: [String]
    ) throws -> String {
        // The generic plan is the one that must be good: it is what a long-lived session uses.
        try connection.execute("SET plan_cache_mode = force_generic_plan")
        try connection.execute("PREPARE p AS \(statement.sql)")
        let result = try connection.query(
            "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) "
                + "EXECUTE p(\(arguments.joined(separator: ", ")))")
        let lines = try result.rows.map { row in
            var row = row
            return try row.next(String.self)
        }
        return lines.joined(separator: "\n")
    }

    private func fill(_ store: AggregateStore, _ ownership: PartitionOwnership) throws {
        let cells = (0..<2_000).map { number in
            CellRow(
                key: key(Name("probe-\(number % 50)"), minute: Int64(number / 50)), cell: Cell(),
                lastSequence: 1)
        }
        _ = try store.flush(
            batch(from: 0, to: 1, cells: cells.sorted { $0.key < $1.key }), by: ownership)
        try store.connection.execute("ANALYZE agg_1m")
    }

    private let clients = "ARRAY['probe-1', 'probe-2']"
    private let times = "ARRAY['2024-03-01 00:01+00', '2024-03-01 00:02+00']::timestamptz[]"
    private let span = ["'2024-03-01 00:01+00'", "'2024-03-01 00:02+00'"]

    @Test func `cells are loaded by one index search each, in their own partition`() throws {
        try withOwnedPartition { store, ownership, url in
            try fill(store, ownership)
            let plan = try plan(
                connect(url), AggregateStore.loadCells,
                [clients, "ARRAY['t', 't']", times] + span)
            #expect(plan.contains("Index Scan using agg_1m_20240301_pkey"), "\(plan)")
            #expect(!plan.contains("Seq Scan"), "\(plan)")
            #expect(!plan.contains("agg_1m_20240302"), "\(plan)")
        }
    }

    @Test func `labels are written in their own partition, without reading all of it`() throws {
        try withOwnedPartition { store, ownership, url in
            try fill(store, ownership)
            let plan = try plan(
                connect(url), DiagnosisStore.writeLabels,
                [
                    clients, "ARRAY['t', 't']", times, "ARRAY['x', 'y']",
                    "ARRAY[now(), now()]",
                ] + span)
            #expect(plan.contains("Subplans Removed: 2"), "\(plan)")
            #expect(plan.contains("Index"), "\(plan)")
            #expect(!plan.contains("Seq Scan"), "\(plan)")
        }
    }

    @Test func `a window can be read through its index, in its own partition`() throws {
        try withOwnedPartition { store, ownership, url in
            try fill(store, ownership)
            let connection = try connect(url)
            // The few rows of a test are read faster as they lie.
            try connection.execute("SET enable_seqscan = off")
            let plan = try plan(connection, DiagnosisStore.readRows, [span[0]])
            #expect(plan.contains("agg_1m_20240301_window_start_ts_idx"), "\(plan)")
            #expect(plan.contains("Subplans Removed: 2"), "\(plan)")
        }
    }
}

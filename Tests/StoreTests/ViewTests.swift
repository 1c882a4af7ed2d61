import Postgres
import PrivateServers
import Store
import Telemetry
import TestKit
import Testing
import Windowing

@Suite struct GapTests {
    /// First, last and count of each gap of the session with these numbers.
    private func gaps(_ numbers: [UInt64]) throws -> [[Int64]] {
        var found: [[Int64]] = []
        try withOwnedPartition { store, ownership, url in
            var session = SessionRow(key: SessionKey(client: "c", session: .zero), lastSequence: 1)
            for number in numbers {
                session.events += session.counted.insert(number) == .inserted ? 1 : 0
            }
            _ = try store.flush(batch(from: 0, to: 1, sessions: [session]), by: ownership)
            let rows = try connect(url).query(
                "SELECT first_missing_seq, last_missing_seq, missing_count FROM probe_gaps ORDER BY 1"
            )
            for var row in rows.rows {
                found.append([try row.next(), try row.next(), try row.next()])
            }
        }
        return found
    }

    @Test func `a session without holes has no gap`() throws {
        #expect(try gaps([1, 2, 3]) == [])
    }

    @Test func `holes are ranges, the one before the first number included`() throws {
        #expect(try gaps([3, 4, 8, 10]) == [[1, 2, 2], [5, 7, 3], [9, 9, 1]])
    }

    @Test func `nothing counted is nothing known`() throws {
        #expect(try gaps([]) == [])
    }
}

@Suite struct HeartbeatTests {
    private func heartbeat(
        _ client: Name, sequence: UInt64, received: Int64,
        _ change: (inout Heartbeat) -> Void = { _ in }
    ) -> HeartbeatRow {
        var heartbeat = Heartbeat(clientID: client, sentAtMilliseconds: received - 5)
        change(&heartbeat)
        return HeartbeatRow(
            heartbeat: heartbeat, receivedAtMilliseconds: received, sequence: sequence)
    }

    private func flush(
        _ rows: [HeartbeatRow], from expected: UInt64, to new: UInt64, _ store: AggregateStore,
        _ ownership: PartitionOwnership
    ) throws -> FlushReceipt {
        try store.upsertProbes(
            HeartbeatBatch(
                expectedSequence: expected, progress: batch(from: expected, to: new).progress,
                heartbeats: rows), by: ownership)
    }

    @Test func `the newest heartbeat says how the probe is, and silence is NULL`() throws {
        try withOwnedPartition { store, ownership, url in
            let now = fixtureStartMilliseconds
            let first = heartbeat("c", sequence: 1, received: now) {
                $0.version = "1.2"
                $0.labels = ["site": "öst \"1\"", "odd": "a\0b"]
                $0.capabilities = ["dns", "tcp, \"tls\""]
                $0.cpuPercent = 1.5
                $0.spoolDepth = 0
                $0.session = UniqueID(high: 1, low: 2)
            }
            let second = heartbeat("c", sequence: 2, received: now + 30_000) {
                $0.version = "1.3"
                $0.capabilities = []
            }
            #expect(try flush([second, first], from: 0, to: 2, store, ownership) == .init())
            let observer = try connect(url)
            let text = """
                SELECT concat_ws('|', version, coalesce(cpu_pct::text, 'null'),
                    coalesce(spool_depth::text, 'null'), cardinality(capabilities),
                    last_seen - first_seen, heartbeat_seq) FROM probes
                """
            #expect(try single(observer, text, String.self) == "1.3|null|null|0|00:00:30|2")

            #expect(
                try flush(
                    [
                        heartbeat("c", sequence: 3, received: now + 60_000) {
                            $0.labels = ["site": "öst \"1\"", "odd": "a\0b"]
                            $0.capabilities = ["dns", "tcp, \"tls\""]
                            $0.cpuPercent = 1.5
                        }
                    ], from: 2, to: 3, store, ownership) == .init())
            let rich =
                "SELECT concat_ws('|', labels->>'site', capabilities[2], cpu_pct) FROM probes"
            #expect(try single(observer, rich, String.self) == "öst \"1\"|tcp, \"tls\"|1.5")
        }
    }

    @Test func `a replayed heartbeat changes nothing and is counted`() throws {
        try withOwnedPartition { store, ownership, url in
            let now = fixtureStartMilliseconds
            _ = try flush(
                [heartbeat("c", sequence: 5, received: now) { $0.version = "new" }], from: 0, to: 5,
                store, ownership)
            let receipt = try flush(
                [heartbeat("c", sequence: 4, received: now + 9) { $0.version = "old" }], from: 5,
                to: 6, store, ownership)
            #expect(receipt.blockedProbes == 1)
            #expect(try single(connect(url), "SELECT version FROM probes", String.self) == "new")
        }
    }

    @Test func `a fenced writer changes no probe`() throws {
        try withOwnedPartition { store, ownership, url in
            #expect(throws: FlushError.fenced) {
                try flush(
                    [heartbeat("c", sequence: 5, received: 0)], from: 3, to: 5, store, ownership)
            }
            let count = try single(connect(url), "SELECT count(*) FROM probes", Int64.self)
            #expect(count == 0)
        }
    }

    @Test(arguments: [
        (0, "online"), (89, "online"), (91, "late"), (299, "late"), (301, "offline"),
    ])
    func `the time since the last heartbeat is the probe's state`(silence: Int, state: String)
        throws
    {
        try withOwnedPartition { store, ownership, url in
            _ = try flush(
                [heartbeat("c", sequence: 1, received: 0)], from: 0, to: 1, store, ownership)
            let observer = try connect(url)
            // One transaction, so that now() is the same in both statements.
            try observer.transaction { () throws(PostgresError) in
                try observer.execute(
                    "UPDATE probes SET last_seen = now() - interval '\(silence) seconds'")
                var row = try observer.query("SELECT state FROM probe_states").first
                let found = try row?.next(String.self)
                #expect(found == state)
            }
        }
    }
}

@Suite struct DiagnosisStoreTests {
    private func row(_ client: Name, minute: Int64 = 0, sequence: UInt64) -> CellRow {
        var random = SeededGenerator(seed: sequence)
        return CellRow(
            key: key(client, minute: minute), cell: randomCell(&random, events: 3),
            lastSequence: sequence)
    }

    @Test func `changed windows are found since the last look`() throws {
        try withOwnedPartition { store, ownership, url in
            let diagnoses = try DiagnosisStore(connect(url))
            let nothing = try diagnoses.changedWindows(since: nil)
            #expect(nothing.windows == [])
            let rows = [row("c", sequence: 1), row("c", minute: 1, sequence: 2)]
            _ = try store.flush(batch(from: 0, to: 2, cells: rows), by: ownership)
            let changed = try diagnoses.changedWindows(since: nothing.cursor)
            #expect(changed.windows == rows.map(\.key.window))
            let observer = try connect(url)
            try observer.execute(
                "UPDATE window_changes SET changed_at = changed_at - interval '1 hour'")
            #expect(try diagnoses.changedWindows(since: changed.cursor).windows == [])
            #expect(try diagnoses.changedWindows(since: nil).windows.count == 2)
        }
    }

    @Test func `a label is written for the state it was made from and for no other`() throws {
        try withOwnedPartition { store, ownership, url in
            let diagnoses = try DiagnosisStore(connect(url))
            let first = [row("c", sequence: 1), row("d", sequence: 1)]
            _ = try store.flush(batch(from: 0, to: 1, cells: first), by: ownership)
            let read = try diagnoses.undiagnosedRows(of: first[0].key.window)
            #expect(read.map(\.row) == first)
            #expect(read.map(\.label) == [nil, nil])

            // "d" changes before its label is written.
            let changed = row("d", sequence: 2)
            _ = try store.flush(batch(from: 1, to: 2, cells: [changed]), by: ownership)
            let labels = read.map {
                DiagnosisLabel(key: $0.row.key, label: "slow", updatedAt: $0.updatedAt)
            }
            #expect(try diagnoses.write(labels) == 1)
            let rest = try diagnoses.undiagnosedRows(of: first[0].key.window)
            #expect(rest.map(\.row) == [changed])

            // "c" comes again when it changes, with the label it had.
            let again = row("c", sequence: 3)
            _ = try store.flush(batch(from: 2, to: 3, cells: [again]), by: ownership)
            let both = try diagnoses.undiagnosedRows(of: first[0].key.window)
            #expect(both.map(\.label) == ["slow", nil])
            let cleared = both.map {
                DiagnosisLabel(key: $0.row.key, label: nil, updatedAt: $0.updatedAt)
            }
            #expect(try diagnoses.write(cleared) == 2)
            #expect(try diagnoses.undiagnosedRows(of: first[0].key.window) == [])
        }
    }
}

@Suite struct ReplicaReadingTests {
    @Test func `changes that a replica shows late are found`() throws {
        try withTemporaryFolder { folder in
            try withPostgresServer(configure: {
                $0.parameters = ["max_locks_per_transaction": "256"]
            }) { primary in
                var settings = PostgresServer.Settings(dataFolder: "\(folder)/replica")
                settings.isDurable = false
                settings.parameters = ["max_locks_per_transaction": "256"]
                settings.primaryURL = primary.superuserURL()
                let replica = try PostgresServer(settings)
                defer { try? replica.kill() }
                let connection = try connect(primary.url)
                _ = try Schema().migrate(connection)
                try connection.execute("SELECT qoe_ensure_partitions('2024-03-01', '2024-03-01')")
                let store = try AggregateStore(connection)
                let owned = try #require(try acquire(store, owner: "a")).ownership
                func flush(_ sequence: UInt64) throws {
                    let row = CellRow(
                        key: key("c", minute: Int64(sequence)), cell: Cell(), lastSequence: sequence
                    )
                    _ = try store.flush(
                        batch(from: sequence - 1, to: sequence, cells: [row]), by: owned)
                }
                try flush(1)
                try primary.awaitReplay(by: replica)
                let reader = DiagnosisStore(try connect(replica.url))
                let first = try reader.changedWindows(since: nil)
                #expect(first.windows == [key("c", minute: 1).window])

                let admin = try connect(replica.superuserURL(database: "telemetry"))
                try admin.execute("SELECT pg_wal_replay_pause()")
                try flush(2)
                let second = try reader.changedWindows(since: first.cursor)
                #expect(!second.windows.contains(key("c", minute: 2).window))
                // However long the replica stands still, the cursor does not pass what it has not shown.
                let changed = try single(
                    connection, "SELECT max(changed_at) FROM window_changes",
                    PostgresTimestamp.self)
                #expect(second.cursor < changed)
                try admin.execute("SELECT pg_wal_replay_resume()")
                try primary.awaitReplay(by: replica)
                let third = try reader.changedWindows(since: second.cursor)
                #expect(third.windows.contains(key("c", minute: 2).window))
            }
        }
    }
}

@Suite struct FirstQuestionTests {
    private func cell(_ stages: [ErrorStage?], ttfb: Double) -> Cell {
        var cell = Cell()
        for stage in stages {
            cell.count(errorStage: stage, isLate: false)
            if stage == nil, let value = MetricValue(ttfb, of: .ttfb) {
                cell.insert(value, of: .ttfb)
            }
        }
        return cell
    }

    /// Runs `body` with cells of the last minutes.
    private func withMinutes(
        _ cells: [(CellKey, Cell)], _ body: (PostgresConnection) throws -> Void
    ) throws {
        try withOwnedPartition { store, ownership, url in
            let connection = try connect(url)
            try connection.execute(
                "SELECT qoe_ensure_partitions((now() - interval '1 day')::date, now()::date + 1)")
            let rows = cells.map { CellRow(key: $0.0, cell: $0.1, lastSequence: 1) }
            _ = try store.flush(batch(from: 0, to: 1, cells: rows), by: ownership)
            try connection.execute(
                """
                UPDATE agg_1m SET window_start_ts = date_trunc('minute', now())
                    - (window_start_ts - '2024-03-01 00:00+00')
                """)
            try body(connection)
        }
    }

    private func text(_ connection: PostgresConnection, _ columns: String, _ view: String) throws
        -> [String]
    {
        try connection.query("SELECT concat_ws(' ', \(columns)) FROM \(view)").rows.map { row in
            var row = row
            return try row.next(String.self)
        }
    }

    @Test func `the worst come first, over all of their rows`() throws {
        try withMinutes([
            (key("c1", "good", minute: 1), cell([nil, nil, nil, nil], ttfb: 20)),
            (key("c2", "good", minute: 1), cell([nil, nil, nil, nil], ttfb: 20)),
            (key("c1", "slow", minute: 1), cell([nil, nil], ttfb: 900)),
            (key("c2", "bad", minute: 2), cell([nil, .dns, .tcp, .tcp], ttfb: 10)),
            (key("c2", "past", minute: 30), cell([.dns], ttfb: 10)),
        ]) { connection in
            #expect(
                try text(connection, "target, clients, events, error_pct", "worst_targets_now")
                    == ["bad 1 4 75.00", "slow 1 2 0.00", "good 2 8 0.00"])
            #expect(
                try text(connection, "client_id, targets, events, error_pct", "worst_clients_now")
                    == ["c2 2 8 37.50", "c1 2 6 0.00"])
            let slow = try single(
                connection, "SELECT ttfb_p95 FROM worst_targets_now WHERE target = 'slow'",
                Double.self)
            #expect(abs(slow - 900) <= 9)
            #expect(
                try text(connection, "target, stage, errors, error_pct, clients", "errors_by_stage")
                    == ["bad tcp 2 50.00 1", "bad dns 1 25.00 1", "past dns 1 100.00 1"])
        }
    }

    @Test func `rates say what became of what was read`() throws {
        try withOwnedPartition { store, ownership, url in
            var progress = batch(from: 0, to: 1).progress
            #expect(
                try text(connect(url), "coalesce(late_pct::text, 'none')", "event_rates") == [
                    "none"
                ])
            progress.counters.events = 200
            progress.counters.counted = 150
            progress.counters.duplicates = 48
            progress.counters.rejected = 2
            progress.counters.late = 3
            var session = SessionRow(key: SessionKey(client: "c", session: .zero), lastSequence: 1)
            for number in [1, 2, 4] as [UInt64] {
                session.events += session.counted.insert(number) == .inserted ? 1 : 0
            }
            session.duplicates = 1
            let flush = FlushBatch(
                expectedSequence: 0, progress: progress, cells: [], sessions: [session],
                deadLetters: [])
            _ = try store.flush(flush, by: ownership)
            let connection = try connect(url)
            #expect(
                try text(connection, "duplicate_pct, late_pct, rejected_pct", "event_rates")
                    == ["24.000 2.000 1.000"])
            #expect(
                try text(
                    connection, "client_id, events, duplicate_pct, missing, missing_pct",
                    "client_rates") == ["c 3 25.000 1 25.000"])
            #expect(
                try text(
                    connection, "partitions, slowest_partition, unowned, behind_s > 0", "freshness")
                    == ["1 3 0 t"])
        }
    }
}

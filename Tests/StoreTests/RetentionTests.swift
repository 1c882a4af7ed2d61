import OwnedThreads
import Postgres
import Store
import Telemetry
import TestKit
import Testing
import Windowing

/// The end of the fixtures' first day.
private let firstDayEnd = PostgresTimestamp(milliseconds: fixtureStartMilliseconds)

@Suite struct RetentionTests {
    private func fill(_ store: AggregateStore, _ ownership: PartitionOwnership) throws {
        var random = SeededGenerator(seed: 5)
        // The last hour of 29 February and the first of 1 March.
        let cells = [Int64(-30), 5].map {
            CellRow(
                key: key("c", minute: $0), cell: randomCell(&random, events: 4), lastSequence: 1)
        }
        let flush = batch(from: 0, to: 1, cells: cells)
        _ = try store.flush(flush, by: ownership)
    }

    private func retireFirstDay(_ store: AggregateStore) throws {
        let old = try store.retention.partitions(of: .minutes, before: firstDayEnd)
        #expect(old.map(\.name) == ["agg_1m_20240229"])
        for partition in old {
            let waiting = try store.retention.waitingRollups(of: partition)
            #expect(waiting.count == 1)
            for rollup in waiting { _ = try store.rollups.make(rollup) }
            try store.retention.retire(partition)
        }
    }

    @Test func `minutes go, and the hours that were made of them stay`() throws {
        try withOwnedPartition { store, ownership, url in
            try fill(store, ownership)
            try retireFirstDay(store)
            #expect(try store.retention.removeRetired() == ["agg_1m_20240229"])
            #expect(try !store.retention.hasRetired())
            let connection = try connect(url)
            #expect(try single(connection, "SELECT count(*) FROM agg_1m", Int64.self) == 1)
            let old = Rollup(
                .hour,
                start: PostgresTimestamp(milliseconds: fixtureStartMilliseconds - 3_600_000))
            #expect(try store.rollups.make(old) == .sourceRemoved)
            let hours = "SELECT count(*) FROM agg_1h"
            #expect(try single(connection, hours, Int64.self) == 1)
            let floor = try #require(try store.retention.floor(of: .minutes))
            #expect(floor == firstDayEnd)
            #expect(try store.retention.forgetChanges(before: floor) == 1)
            #expect(try store.retention.forgetChanges(before: floor) == 0)
            let changes = "SELECT count(*) FROM window_changes"
            #expect(try single(connection, changes, Int64.self) == 1)
        }
    }

    @Test(arguments: ["agg_1h", "agg_dim_1h"])
    func `days stay when either of the tables that they are made of has lost its hours`(
        table: String
    ) throws {
        try withOwnedPartition { store, ownership, url in
            try fill(store, ownership)
            while let due = try store.rollups.due(hourDelay: .zero, dayDelay: .zero, limit: 9),
                !due.isEmpty
            {
                for rollup in due { _ = try store.rollups.make(rollup) }
            }
            let connection = try connect(url)
            let days = "SELECT (SELECT count(*) FROM agg_1d) + (SELECT count(*) FROM agg_dim_1d)"
            let before = try single(connection, days, Int64.self)
            try connection.execute(
                """
                INSERT INTO retention_floors VALUES ('\(table)', '2024-04-01 00:00+00', now());
                DELETE FROM \(table);
                """)
            let day = Rollup(.day, start: firstDayEnd)
            #expect(try store.rollups.make(day) == .sourceRemoved)
            #expect(try single(connection, days, Int64.self) == before)
        }
    }

    @Test func `removing a day waits for its readers and stands in nobody's way`() throws {
        try withOwnedPartition { store, ownership, url in
            try fill(store, ownership)
            try retireFirstDay(store)
            let reader = try connect(url)
            try reader.execute("BEGIN; SELECT count(*) FROM agg_1m")
            let removal = OwnedThread(name: "removal") {
                _ = try? AggregateStore(connect(url)).retention.removeRetired()
            }
            let observer = try connect(url)
            let waits = """
                SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                    AND query LIKE 'ALTER TABLE%DETACH%' AND wait_event_type = 'Lock'
                """
            #expect(eventually { (try? single(observer, waits, Int64.self)) == 1 })
            // While it waits, others write and read.
            try observer.execute("SET lock_timeout = '5s'")
            #expect(try single(observer, "SELECT count(*) FROM agg_1m", Int64.self) == 1)
            var random = SeededGenerator(seed: 6)
            let row = CellRow(
                key: key("d", minute: 7), cell: randomCell(&random, events: 1), lastSequence: 2)
            _ = try store.flush(batch(from: 1, to: 2, cells: [row]), by: ownership)
            #expect(try single(observer, "SELECT count(*) FROM agg_1m", Int64.self) == 2)
            try reader.execute("COMMIT")
            removal.join()
            #expect(try !store.retention.hasRetired())
            #expect(
                try single(
                    observer, "SELECT to_regclass('agg_1m_20240229') IS NULL", Bool.self))
        }
    }

    @Test func `a removal that was interrupted is finished`() throws {
        try withOwnedPartition { store, ownership, url in
            try fill(store, ownership)
            try retireFirstDay(store)
            let reader = try connect(url)
            try reader.execute("BEGIN; SELECT count(*) FROM agg_1m")
            let impatient = try AggregateStore(
                connect(url), statementTimeout: .milliseconds(200))
            #expect(throws: PostgresError.self) { try impatient.retention.removeRetired() }
            let pending = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending"
            #expect(try single(connect(url), pending, Int64.self) == 1)
            #expect(try store.retention.partitions(of: .minutes, before: firstDayEnd) == [])
            try reader.execute("COMMIT")
            #expect(try store.retention.removeRetired() == ["agg_1m_20240229"])
            #expect(
                try single(
                    connect(url), "SELECT to_regclass('agg_1m_20240229') IS NULL", Bool.self))
        }
    }

    @Test func `a partition that somebody detached to keep it is kept`() throws {
        try withOwnedPartition { store, ownership, url in
            try fill(store, ownership)
            try connect(url).execute("ALTER TABLE agg_1m DETACH PARTITION agg_1m_20240229")
            #expect(try store.retention.partitions(of: .minutes, before: firstDayEnd) == [])
            #expect(try store.retention.removeRetired() == [])
            #expect(
                try single(connect(url), "SELECT count(*) FROM agg_1m_20240229", Int64.self) == 1)
        }
    }

    @Test func `retention follows the log, not the clock`() throws {
        try withOwnedPartition { store, ownership, url in
            let stream = "EVENTS"
            // Acquired and never read: what waits there is not known.
            #expect(try store.retention.countedThrough(ofStream: stream) == nil)
            #expect(try store.retention.countedThrough(ofStream: "OTHERS") == nil)
            try fill(store, ownership)
            let counted = try #require(try store.retention.countedThrough(ofStream: stream))
            #expect(counted == PostgresTimestamp(milliseconds: fixtureStartMilliseconds - 1))
        }
    }

    @Test func `one instance at a time keeps retention`() throws {
        try withSchema { url in
            let first = try AggregateStore(connect(url)).retention
            let second = try AggregateStore(connect(url)).retention
            var turns: [String] = []
            try first.alone { () throws(PostgresError) in
                turns.append("first")
                try second.alone { () throws(PostgresError) in turns.append("never") }
            }
            try second.alone { () throws(PostgresError) in turns.append("second") }
            #expect(turns == ["first", "second"])
        }
    }

    @Test func `silent sessions and forwarded letters are forgotten after their time`() throws {
        try withOwnedPartition { store, ownership, url in
            let session = SessionRow(
                key: SessionKey(client: "c", session: .zero), lastSequence: 1)
            let letters = (0..<2).map {
                DeadLetter(sequence: 1, index: $0, reason: "r", detail: "d")
            }
            _ = try store.flush(
                batch(from: 0, to: 1, sessions: [session], deadLetters: letters), by: ownership)
            try connect(url).execute("UPDATE dead_letters SET forwarded_at = now() WHERE idx = 0")
            let past = PostgresTimestamp(milliseconds: fixtureStartMilliseconds)
            #expect(try store.retention.forgetSessions(silentSince: past) == 0)
            #expect(try store.retention.forgetDeadLetters(forwardedBefore: past) == 0)
            #expect(try store.retention.forgetSessions(silentSince: .distantFuture) == 1)
            #expect(try store.retention.forgetDeadLetters(forwardedBefore: .distantFuture) == 1)
            // What was not forwarded is kept however old.
            #expect(
                try single(connect(url), "SELECT count(*) FROM dead_letters", Int64.self) == 1)
        }
    }

    @Test func `keeping retention makes what is to be made and removes the rest`() throws {
        try withOwnedPartition { store, ownership, url in
            try fill(store, ownership)
            // The log has been counted to the first minute of March: a day and an hour behind is February's last.
            let hour = Duration.seconds(3600)
            let policy = RetentionPolicy(
                minutes: .zero, hours: hour * 24 * 365, days: nil, ledgers: hour * 24 * 365)
            let retention = Retention(store, policy: policy, stream: "EVENTS")
            #expect(try retention.removable() == [])
            try connect(url).execute(
                "UPDATE partition_progress SET complete_through = '2024-03-02 00:00+00'")
            #expect(try retention.removable()?.map(\.name) == ["agg_1m_20240229"])
            let report = try retention.keep()
            #expect(report.removedPartitions == ["agg_1m_20240229"])
            #expect(report.forgottenRows == ["window_changes": 1])
            #expect(!report.wasBusy && !report.lacksOwnership && !report.isWaitingForRollups)
            let hours = "SELECT count(*) FROM agg_1h"
            #expect(try single(connect(url), hours, Int64.self) == 1)
            #expect(try retention.keep().removedPartitions == [])
            // Nobody knows what waits in a log that has not been read.
            let unread = Retention(store, policy: policy, stream: "OTHERS")
            #expect(try unread.keep().isLogUnknown)
        }
    }

    @Test func `a removal that fails gives the owner's rights back`() throws {
        try withOwnedPartition { store, ownership, url in
            try fill(store, ownership)
            let connection = try connect(url)
            try connection.execute(
                "UPDATE partition_progress SET complete_through = '2024-03-02 00:00+00'")
            let reader = try connect(url)
            try reader.execute("BEGIN; SELECT count(*) FROM agg_1m")
            let session = try connect(url)
            let impatient = try AggregateStore(session, statementTimeout: .milliseconds(500))
            let policy = RetentionPolicy(
                minutes: .zero, hours: .seconds(86_400 * 365), days: nil,
                ledgers: .seconds(86_400 * 365))
            #expect(throws: PostgresError.self) {
                try Retention(impatient, policy: policy, stream: "EVENTS").keep()
            }
            let isItself = "SELECT current_user = session_user"
            #expect(try single(session, isItself, Bool.self))
            // The other instances get their turn.
            try reader.execute("COMMIT")
            let report = try Retention(store, policy: policy, stream: "EVENTS").keep()
            #expect(report.removedPartitions == ["agg_1m_20240229"])
        }
    }

    @Test func `without the owner's rights retention says so and removes nothing`() throws {
        try withOwnedPartition { store, ownership, url in
            try fill(store, ownership)
            let connection = try connect(url)
            try connection.execute(
                "UPDATE partition_progress SET complete_through = '2024-03-02 00:00+00'")
            try withWriterLogin(url) { login in
                let policy = RetentionPolicy(
                    minutes: .zero, hours: .seconds(86_400 * 365), days: nil,
                    ledgers: .seconds(86_400 * 365))
                let limited = try AggregateStore(connect(login))
                let report = try Retention(limited, policy: policy, stream: "EVENTS").keep()
                #expect(report.lacksOwnership && report.removedPartitions == [])
            }
            #expect(try single(connection, "SELECT count(*) FROM agg_1m", Int64.self) == 2)
            #expect(try store.retention.removeRetired() == ["agg_1m_20240229"])
        }
    }

    @Test func `partitions exist ahead of time`() throws {
        try withSchema { url in
            let retention = try AggregateStore(connect(url)).retention
            // Today and three days, one month or two, one year or two, twice.
            #expect((8...12).contains(try retention.ensurePartitions(daysAhead: 3)))
            #expect(try retention.ensurePartitions(daysAhead: 3) == 0)
        }
    }
}

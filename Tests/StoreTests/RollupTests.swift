import OwnedThreads
import Postgres
import Store
import Synchronization
import Telemetry
import TestKit
import Testing
import Windowing

/// Writes cells of minutes, each as what a message with the next sequence left behind.
private final class Minutes {
    let store: AggregateStore
    let ownership: PartitionOwnership
    private var sequence: UInt64 = 0

    init(_ store: AggregateStore, _ ownership: PartitionOwnership) {
        self.store = store
        self.ownership = ownership
    }

    func write(_ cells: [(CellKey, Cell)]) throws {
        sequence += 1
        let flush = batch(
            from: sequence - 1, to: sequence,
            cells: cells.map { CellRow(key: $0.0, cell: $0.1, lastSequence: sequence) })
        _ = try store.flush(flush, by: ownership)
    }
}

/// Makes all that waits, however often making notes more.
private func makeAll(_ store: AggregateStore) throws {
    while true {
        let due = try #require(
            try store.rollups.due(hourDelay: .zero, dayDelay: .zero, limit: 10))
        if due.isEmpty { return }
        for rollup in due { _ = try store.rollups.make(rollup) }
    }
}

private let metricNames = Metric.allCases.map(\.sqlName)
private let countColumns =
    ["count_total", "count_success", "count_error", "late_count"]
    + ErrorStage.allCases.map { "\($0.name)_error_count" } + metricNames.map { "\($0)_count" }

/// What differs between `table` and the minutes grouped by `keys`, made by other means than the rollup: exact
/// sums, and sketches taken apart and counted bucket by bucket.
private func differences(
    _ connection: PostgresConnection, _ table: String, unit: String, keys: [String],
    where condition: String = "true"
) throws -> Int64 {
    let key = keys.joined(separator: ", ")
    let counts =
        countColumns.map { "sum(\($0))::bigint AS \($0)" }
        + ["count(*) AS minute_count"]
        + metricNames.flatMap {
            [
                "min(\($0)_min) AS \($0)_min", "max(\($0)_max) AS \($0)_max",
                "sum(\($0)_sum)::bigint AS \($0)_sum",
            ]
        }
    let columns =
        countColumns + ["minute_count"]
        + metricNames.flatMap { ["\($0)_min", "\($0)_max", "\($0)_sum"] }
    let list = (keys + ["window_start_ts"] + columns).joined(separator: ", ")
    let expected = """
        SELECT \(key), date_trunc('\(unit)', window_start_ts, 'UTC') AS window_start_ts,
            \(counts.joined(separator: ", ")) FROM agg_1m GROUP BY \(key), \(keys.count + 1)
        """
    let made = "SELECT \(list) FROM \(table) WHERE \(condition)"
    var total = try single(
        connection,
        """
        WITH expected AS (\(expected)), made AS (\(made)), wanted AS (SELECT \(list) FROM expected)
        SELECT count(*) FROM ((TABLE made EXCEPT TABLE wanted) UNION ALL (TABLE wanted EXCEPT TABLE made)) AS d
        """, Int64.self)
    for metric in metricNames {
        total += try single(
            connection,
            """
            WITH buckets AS (
                SELECT \(key), date_trunc('\(unit)', window_start_ts, 'UTC') AS window_start_ts,
                    e >> 40 AS bucket, sum(e & 1099511627775)::bigint AS total
                FROM agg_1m, unnest(\(metric)_sketch) AS e GROUP BY \(key), \(keys.count + 1), \(keys.count + 2)
            ), stored AS (
                SELECT \(key), window_start_ts, e >> 40 AS bucket, e & 1099511627775 AS total
                FROM \(table), unnest(\(metric)_sketch) AS e WHERE \(condition)
            )
            SELECT count(*) + (SELECT count(*) FROM \(table) WHERE \(condition)
                AND ARRAY[\(metric)_p50, \(metric)_p95, \(metric)_p99] IS DISTINCT FROM
                    ARRAY[qoe_sketch_quantile(\(metric)_sketch, 0.5, \(metric)_min, \(metric)_max),
                        qoe_sketch_quantile(\(metric)_sketch, 0.95, \(metric)_min, \(metric)_max),
                        qoe_sketch_quantile(\(metric)_sketch, 0.99, \(metric)_min, \(metric)_max)])
            FROM ((TABLE buckets EXCEPT TABLE stored) UNION ALL (TABLE stored EXCEPT TABLE buckets)) AS d
            """, Int64.self)
    }
    return total
}

/// Compares all rollups with the minutes.
private func expectRollupsFollow(_ url: String) throws {
    let connection = try connect(url)
    for (table, dimensions, unit) in [
        ("agg_1h", "agg_dim_1h", "hour"), ("agg_1d", "agg_dim_1d", "day"),
    ] {
        #expect(
            try differences(connection, table, unit: unit, keys: ["client_id", "target"]) == 0,
            "\(table)")
        for dimension in [
            "target", "isp", "network_type", "isp,target", "isp,region", "resolver,target",
        ] {
            let found = try differences(
                connection, dimensions, unit: unit,
                keys: dimension.split(separator: ",").map(String.init),
                where: "dimension = '\(dimension)'")
            #expect(found == 0, "\(dimensions) by \(dimension)")
        }
    }
}

@Suite struct RollupTests {
    @Test func `hours, days and dimensions are their minutes merged`() throws {
        let seed = UInt64.random(in: 0..<1 << 32)
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        try withOwnedPartition { store, ownership, url in
            let minutes = Minutes(store, ownership)
            for _ in 0..<6 {
                var cells: [(CellKey, Cell)] = []
                for client in ["c1", "c2", "c3"] as [Name] {
                    for target in ["t1", "t2"] as [Name] {
                        let minute = Int64.random(in: -300...1600, using: &random)
                        cells.append(
                            (key(client, target, minute: minute), randomCell(&random, events: 9)))
                    }
                }
                try minutes.write(cells)
            }
            try makeAll(store)
            #expect(try single(connect(url), "SELECT count(*) FROM agg_1d", Int64.self) > 0)
            try expectRollupsFollow(url)
        }
    }

    @Test func `a late event shows up in minute, hour and day, and nothing else changes`() throws {
        var random = SeededGenerator(seed: 7)
        try withOwnedPartition { store, ownership, url in
            let minutes = Minutes(store, ownership)
            let late = key("c1", minute: 10)
            try minutes.write([
                (late, randomCell(&random, events: 5)),
                (key("c2", minute: 11), randomCell(&random, events: 5)),
                (key("c1", minute: 200), randomCell(&random, events: 5)),
            ])
            try makeAll(store)
            let connection = try connect(url)
            let untouched = """
                SELECT string_agg(updated_at::text, ',' ORDER BY client_id, window_start_ts)
                FROM agg_1h WHERE NOT (client_id = 'c1' AND window_start_ts = '2024-03-01 00:00+00')
                """
            let before = try single(connection, untouched, String.self)
            var cell = randomCell(&random, events: 6)
            for _ in 0..<3 { cell.count(errorStage: .dns, isLate: true) }
            try minutes.write([(late, cell)])
            try makeAll(store)
            let total = """
                SELECT count_total FROM agg_1h
                WHERE client_id = 'c1' AND window_start_ts = '2024-03-01 00:00+00'
                """
            #expect(try single(connection, total, Int64.self) == 9)
            let day = "SELECT count_total FROM agg_1d WHERE client_id = 'c1'"
            #expect(try single(connection, day, Int64.self) == 14)
            #expect(try single(connection, untouched, String.self) == before)
            try expectRollupsFollow(url)
        }
    }

    @Test func `what was not measured is NULL in hour and day`() throws {
        try withOwnedPartition { store, ownership, url in
            var cell = Cell()
            cell.count(errorStage: .dns, isLate: false)
            try Minutes(store, ownership).write([(key("c1"), cell)])
            try makeAll(store)
            let connection = try connect(url)
            for table in ["agg_1h", "agg_1d", "agg_dim_1h", "agg_dim_1d"] {
                for metric in metricNames {
                    let isAbsent = try single(
                        connection,
                        """
                        SELECT bool_and(num_nonnulls(\(metric)_sum, \(metric)_min, \(metric)_max,
                            \(metric)_p50, \(metric)_sketch) = 0 AND \(metric)_count = 0)
                        FROM \(table)
                        """, Bool.self)
                    #expect(isAbsent, "\(metric) in \(table)")
                }
            }
        }
    }

    @Test func `making again changes nothing, and what was interrupted is made later`() throws {
        var random = SeededGenerator(seed: 8)
        try withOwnedPartition { store, ownership, url in
            let minutes = Minutes(store, ownership)
            try minutes.write([(key("c1"), randomCell(&random, events: 5))])
            let connection = try connect(url)
            let hour = Rollup(
                .hour, start: PostgresTimestamp(milliseconds: fixtureStartMilliseconds))
            try connection.execute(
                "BEGIN; SELECT qoe_roll('1h', '2024-03-01 00:00+00'); ROLLBACK")
            #expect(try single(connection, "SELECT count(*) FROM agg_1h", Int64.self) == 0)
            #expect(try store.rollups.backlog().hours == 1)
            #expect(try store.rollups.make(hour) == .made(changedRows: 1))
            #expect(try store.rollups.make(hour) == .made(changedRows: 0))
            #expect(try store.rollups.backlog().hours == 0)
            #expect(try store.rollups.backlog().days == 1)
            try makeAll(store)
            let left = try store.rollups.backlog()
            #expect(left.hours == 0 && left.days == 0 && left.oldestSeconds == nil)
        }
    }

    @Test func `rollups that race with flushes and each other end up right`() throws {
        let seed = UInt64.random(in: 0..<1 << 32)
        print("seed \(seed)")
        try withOwnedPartition { store, ownership, url in
            let isDone = Mutex(false)
            let failures = Mutex<[String]>([])
            let rollers = (0..<2).map { index in
                OwnedThread(name: "roller \(index)") {
                    do {
                        let store = try AggregateStore(connect(url))
                        while !isDone.withLock({ $0 }) {
                            let due = try store.rollups.due(
                                hourDelay: .zero, dayDelay: .zero, limit: 3)
                            for rollup in due ?? [] { _ = try store.rollups.make(rollup) }
                        }
                    } catch {
                        failures.withLock { $0.append("\(error)") }
                    }
                }
            }
            var random = SeededGenerator(seed: seed)
            let minutes = Minutes(store, ownership)
            for _ in 0..<40 {
                try minutes.write(
                    (0..<4).map { _ in
                        let minute = Int64.random(in: 0..<150, using: &random)
                        let client: Name = ["c1", "c2", "c3"][Int.random(in: 0..<3, using: &random)]
                        return (key(client, minute: minute), randomCell(&random, events: 4))
                    }.reduce(into: [CellKey: Cell]()) { $0[$1.0] = $1.1 }.map { ($0.key, $0.value) }
                )
            }
            isDone.withLock { $0 = true }
            for roller in rollers { roller.join() }
            #expect(failures.withLock { $0 } == [])
            try makeAll(store)
            try expectRollupsFollow(url)
        }
    }

    @Test func `a minute counts for the provider that it was measured in`() throws {
        func cell(isp: String, at minute: Int64) -> Cell {
            var cell = Cell()
            for _ in 0..<3 { cell.count(errorStage: nil, isLate: false) }
            cell.update(
                context: NetworkContext(isp: Name(isp)),
                measuredAtMilliseconds: fixtureStartMilliseconds + minute * 60_000 + 59_999)
            return cell
        }
        try withOwnedPartition { store, ownership, url in
            let minutes = Minutes(store, ownership)
            let connection = try connect(url)
            let byISP = """
                SELECT string_agg(coalesce(isp, '-') || ' ' || minute_count, ', ' ORDER BY isp)
                FROM agg_dim_1h WHERE dimension = 'isp'
                """
            try minutes.write([
                (key("c1", minute: 1), cell(isp: "A", at: 1)),
                (key("c1", minute: 2), cell(isp: "B", at: 2)),
                (key("c1", minute: 3), cell(isp: "B", at: 3)),
            ])
            try makeAll(store)
            #expect(try single(connection, byISP, String.self) == "A 1, B 2")
            #expect(try single(connection, "SELECT isp FROM agg_1h", String.self) == "B")
            try expectRollupsFollow(url)
            // A newer event of the first minute says that it was the other one: nothing is left of A.
            try minutes.write([(key("c1", minute: 1), cell(isp: "B", at: 1))])
            try makeAll(store)
            #expect(try single(connection, byISP, String.self) == "B 3")
            try expectRollupsFollow(url)
        }
    }

    @Test func `an hour has the label of most of its minutes`() throws {
        var random = SeededGenerator(seed: 10)
        try withOwnedPartition { store, ownership, url in
            let minutes = Minutes(store, ownership)
            try minutes.write(
                (0..<4).map { (key("c1", minute: $0), randomCell(&random, events: 3)) })
            try makeAll(store)
            let diagnoses = DiagnosisStore(try connect(url))
            for (minute, label) in ["healthy", "dns-bound", "dns-bound"].enumerated() {
                let window = key("c1", minute: Int64(minute)).window
                let rows = try diagnoses.undiagnosedRows(of: window)
                let labels = rows.map {
                    DiagnosisLabel(key: $0.row.key, label: label, updatedAt: $0.updatedAt)
                }
                #expect(try diagnoses.write(labels) == 1)
            }
            try makeAll(store)
            let connection = try connect(url)
            for table in ["agg_1h", "agg_1d"] {
                let label = try single(
                    connection, "SELECT diagnosis_label FROM \(table)", String.self)
                #expect(label == "dns-bound", "\(table)")
            }
        }
    }

    @Test func `many notes of one hour become one`() throws {
        var random = SeededGenerator(seed: 11)
        try withOwnedPartition { store, ownership, url in
            let minutes = Minutes(store, ownership)
            for _ in 0..<5 { try minutes.write([(key("c1"), randomCell(&random, events: 1))]) }
            let connection = try connect(url)
            let notes = "SELECT count(*) FROM rollup_queue"
            #expect(try single(connection, notes, Int64.self) == 5)
            // Nothing has waited for an hour yet.
            #expect(
                try store.rollups.due(hourDelay: .seconds(3600), dayDelay: .zero, limit: 9) == [])
            #expect(try single(connection, notes, Int64.self) == 1)
        }
    }

    @Test func `what is no hour or day is refused`() throws {
        try withSchema { url in
            let connection = try connect(url)
            for call in [
                "'1h', '2024-03-01 00:30+00'", "'1d', '2024-03-01 01:00+00'", "'1m', '2024-03-01'",
                "'1h', NULL", "NULL, '2024-03-01 00:00+00'",
            ] {
                #expect(throws: PostgresError.self) {
                    try connection.execute("SELECT qoe_roll(\(call))")
                }
            }
        }
    }
}

import Glibc
import Postgres
import PrivateServers
import TestKit
import Windowing

/// Rows per second into `agg_1m` by the size of a flush, against binary COPY of the same rows into a table without index,
/// constraint and partitions, and into one with the indexes of `agg_1m`.
struct FlushBenchmark {
    var sizes = [10, 100, 1000, 5000, 20_000]
    var rounds = 3

    /// Each round writes at least so many rows or ``flushesMax`` flushes.
    private static let rowsPerRound = 20_000
    private static let flushesMax = 40
    /// 2026-01-01 00:00 UTC, minutes since the Unix epoch.
    private static let firstMinute: Int64 = 29_453_760

    func run() throws {
        print("Flush: rows/s into agg_1m; CPU: of the server process of the session, µs/row")
        print(
            pad("rows/flush", -10), pad("COPY/s", -9), pad("keyed/s", -9), pad("new/s", -9),
            pad("of COPY", -8), pad("of keyed", -8), pad("COPY CPU", -9), pad("keyed CPU", -9),
            pad("new CPU", -8), pad("of COPY", -8), pad("of keyed", -8), pad("own CPU", -8),
            pad("again/s", -9), pad("again CPU", -9), pad("HOT %", -6))
        try withTemporaryFolder { folder in
            var settings = PostgresServer.Settings(dataFolder: folder)
            settings.parameters = AggregatorBenchmark.postgresParameters
            let postgres = try PostgresServer(settings)
            defer { try? postgres.kill() }
            let databases = DatabaseSeries(postgres)
            for size in sizes { try measure(size, databases) }
        }
        print("")
    }

    private func measure(_ size: Int, _ databases: DatabaseSeries) throws {
        let url = try databases.make()
        defer { try? databases.drop(url) }
        let writer = try BenchmarkWriter(url)
        let flushCount = max(1, min(Self.flushesMax, Self.rowsPerRound / size))
        let copier = try MeasuredSession(databases.superuserURL(of: url))
        // The server writes and reads the file itself, so where its account may.
        let folder = try copier.text("SELECT current_setting('data_directory')")
        let file = "\(folder)/rows-\(size)"
        var made = MadeRows(seed: 1)
        var window = Window(minute: Self.firstMinute)
        try writer.ensurePartitions(from: window, to: window)
        var costs = Costs()
        for round in 0...rounds {
            var copy = SessionCost()
            var keyed = SessionCost()
            var new = SessionCost()
            var again = SessionCost()
            for _ in 0..<flushCount {
                // Encoding is a part of a flush; making the cells is not.
                let cells = made.minute(window, cells: size, sequence: writer.sequence + 1)
                new += try writer.session.measure { try writer.flush(cells) }
                try prepareCopy(copier, window, to: file)
                copy += try copier.measure("COPY bare FROM '\(file)' (FORMAT binary)")
                keyed += try copier.measure("COPY keyed FROM '\(file)' (FORMAT binary)")
                let later = made.minute(
                    window, cells: size, sequence: writer.sequence + 1, repeats: 2)
                again += try writer.session.measure { try writer.flush(later) }
                window = window.next
            }
            // The first round warms up: plans are prepared, files exist.
            guard round > 0 else { continue }
            costs.copy.append(copy)
            costs.keyed.append(keyed)
            costs.new.append(new)
            costs.again.append(again)
        }
        let rows = Double(size * flushCount)
        let hot = try hotShare(writer, minute: window)
        print(line(size, rows, costs, hot))
        fflush(nil)
    }

    /// One of each per round.
    private struct Costs {
        var copy: [SessionCost] = []
        var keyed: [SessionCost] = []
        var new: [SessionCost] = []
        var again: [SessionCost] = []
    }

    private func line(_ size: Int, _ rows: Double, _ costs: Costs, _ hot: Double) -> String {
        func rate(_ costs: [SessionCost]) -> Double { rows / median(costs.map(\.seconds)) }
        func cpu(_ costs: [SessionCost]) -> Double {
            max(0.1, median(costs.map(\.serverCPU)) * 1e6 / rows)
        }
        return [
            pad("\(size)", -10), pad(decimal(rate(costs.copy), 0), -9),
            pad(decimal(rate(costs.keyed), 0), -9), pad(decimal(rate(costs.new), 0), -9),
            pad(decimal(rate(costs.new) / rate(costs.copy), 2), -8),
            pad(decimal(rate(costs.new) / rate(costs.keyed), 2), -8),
            pad(decimal(cpu(costs.copy), 1), -9), pad(decimal(cpu(costs.keyed), 1), -9),
            pad(decimal(cpu(costs.new), 1), -8),
            pad(decimal(cpu(costs.copy) / cpu(costs.new), 2), -8),
            pad(decimal(cpu(costs.keyed) / cpu(costs.new), 2), -8),
            pad(decimal(median(costs.new.map(\.ownCPU)) * 1e6 / rows, 1), -8),
            pad(decimal(rate(costs.again), 0), -9), pad(decimal(cpu(costs.again), 1), -9),
            pad(decimal(hot * 100, 1), -6),
        ].joined(separator: " ")
    }

    /// The file of a minute's rows, and tables of the same columns: one with nothing else, one with the indexes.
    private func prepareCopy(
        _ copier: MeasuredSession, _ window: Window, to file: String
    ) throws {
        try copier.connection.execute(
            """
            CREATE TABLE IF NOT EXISTS bare AS TABLE agg_1m WITH NO DATA;
            CREATE TABLE IF NOT EXISTS keyed (LIKE agg_1m INCLUDING INDEXES) WITH (fillfactor = 70);
            COPY (SELECT * FROM agg_1m
                WHERE window_start_ts = to_timestamp(\(window.startMilliseconds / 1000)))
                TO '\(file)' (FORMAT binary)
            """)
    }

    /// The share of updates that needed no new index entry while a minute is written again, flush by flush.
    private func hotShare(_ writer: BenchmarkWriter, minute: Window) throws -> Double {
        let cellCount = 1000
        let updateCount = 20
        var made = MadeRows(seed: 2)
        try writer.ensurePartitions(from: minute, to: Window(minute: minute.minute + 1))
        let before = try updates(writer)
        for count in 1...updateCount + 1 {
            try writer.flush(
                made.minute(
                    minute, cells: cellCount, sequence: writer.sequence + 1, repeats: count))
        }
        let after = try updates(writer)
        return Double(after.hot - before.hot) / Double(max(1, after.all - before.all))
    }

    private func updates(_ writer: BenchmarkWriter) throws -> (all: Int64, hot: Int64) {
        try writer.session.connection.execute("SELECT pg_stat_force_next_flush()")
        usleep(1_200_000)
        let sums = "FROM pg_stat_user_tables WHERE relname LIKE 'agg\\_1m\\_%'"
        return (
            try writer.session.number("SELECT sum(n_tup_upd)::bigint \(sums)"),
            try writer.session.number("SELECT sum(n_tup_hot_upd)::bigint \(sums)")
        )
    }
}

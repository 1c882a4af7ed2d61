import Glibc
import Postgres
import PrivateServers
import TestKit
import Windowing

/// What it costs to make an hour of its minutes and a day of its hours.
struct RollupBenchmark {
    var cellCounts = [100, 1000, 5000]

    private static let hourStart = Window(minute: 29_453_760)
    private static let minutesPerHour = 60
    private static let hoursPerDay = 24

    func run() throws {
        print("Rollups; CPU of the session. Again: nothing has changed since")
        print(
            pad("cells/minute", -13), pad("minutes' rows", -14), pad("hour s", -7),
            pad("CPU s", -7), pad("µs/row", -7), pad("of flush", -9), pad("again CPU", -10),
            pad("dim rows", -9), pad("hours' rows", -12), pad("day s", -7), pad("CPU s", -7),
            pad("µs/row", -7))
        try withTemporaryFolder { folder in
            var settings = PostgresServer.Settings(dataFolder: folder)
            settings.parameters = AggregatorBenchmark.postgresParameters
            let postgres = try PostgresServer(settings)
            defer { try? postgres.kill() }
            let databases = DatabaseSeries(postgres)
            for count in cellCounts {
                let url = try databases.make()
                try measure(count, url)
                try databases.drop(url)
            }
        }
        print("")
    }

    private func measure(_ cellCount: Int, _ url: String) throws {
        let writer = try BenchmarkWriter(url)
        let session = writer.session
        try writer.ensurePartitions(from: Self.hourStart, to: Self.hourStart)
        var made = MadeRows(seed: 3)
        var flush = SessionCost()
        var window = Self.hourStart
        for _ in 0..<Self.minutesPerHour {
            let cells = made.minute(window, cells: cellCount, sequence: writer.sequence + 1)
            flush += try session.measure { try writer.flush(cells) }
            window = window.next
        }
        try session.connection.execute("ANALYZE agg_1m")
        let start = "to_timestamp(\(Self.hourStart.startMilliseconds / 1000))"
        let hour = try session.measure("SELECT qoe_roll('1h', \(start))")
        let again = try session.measure("SELECT qoe_roll('1h', \(start))")
        try fillDay(session)
        let day = try session.measure("SELECT qoe_roll('1d', \(start))")
        let minuteRows = Double(cellCount * Self.minutesPerHour)
        let hourRows = Double(
            try session.number(
                "SELECT (SELECT count(*) FROM agg_1h) + (SELECT count(*) FROM agg_dim_1h)"))
        let dimensionRows = try session.number(
            "SELECT count(*) FROM agg_dim_1h WHERE window_start_ts = \(start)")
        print(
            pad("\(cellCount)", -13), pad(decimal(minuteRows, 0), -14),
            pad(decimal(hour.seconds, 2), -7), pad(decimal(hour.serverCPU, 2), -7),
            pad(decimal(hour.serverCPU * 1e6 / minuteRows, 1), -7),
            pad(decimal(hour.serverCPU / max(0.01, flush.serverCPU), 2), -9),
            pad(decimal(again.serverCPU, 2), -10), pad("\(dimensionRows)", -9),
            pad(decimal(hourRows, 0), -12), pad(decimal(day.seconds, 2), -7),
            pad(decimal(day.serverCPU, 2), -7),
            pad(decimal(day.serverCPU * 1e6 / hourRows, 1), -7))
        fflush(nil)
    }

    /// Copies the hour to all hours of its day.
    private func fillDay(_ session: MeasuredSession) throws {
        for table in ["agg_1h", "agg_dim_1h"] {
            try session.connection.execute(copying(table))
        }
        try session.connection.execute("ANALYZE agg_1h, agg_dim_1h")
    }

    private func copying(_ table: String) -> String {
        """
        CREATE TEMPORARY TABLE copied AS TABLE \(table);
        DO $$
        BEGIN
            FOR step IN 1..\(Self.hoursPerDay - 1) LOOP
                UPDATE copied SET window_start_ts = window_start_ts + interval '1 hour';
                INSERT INTO \(table) TABLE copied;
            END LOOP;
        END $$;
        DROP TABLE copied
        """
    }
}

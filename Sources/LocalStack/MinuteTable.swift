internal import Postgres

/// The last minutes as a table for people.
enum MinuteTable {
    /// How many minutes are shown.
    private static let minuteCount = 2
    /// How many rows are shown at most; a wide stack is better asked with SQL.
    private static let rowCountMax = 40

    private static let query = """
        SELECT to_char(window_start_ts AT TIME ZONE 'UTC', 'HH24:MI'), client_id, target,
               count_total, count_error, ttfb_p50, ttfb_p95, total_p95, diagnosis_label
        FROM agg_1m
        WHERE window_start_ts > now() - make_interval(mins => \(minuteCount))
        ORDER BY window_start_ts DESC, client_id, target
        LIMIT \(rowCountMax)
        """

    /// The table's lines, or a line saying that nothing has arrived yet.
    static func lines(from connection: PostgresConnection) throws(PostgresError) -> [String] {
        let result = try connection.query(query)
        guard result.rowCount > 0 else { return ["No rows in agg_1m yet."] }
        var table = TextTable([
            ("minute", .left), ("client", .left), ("target", .left), ("events", .right),
            ("errors", .right), ("ttfb p50", .right), ("ttfb p95", .right), ("total p95", .right),
            ("diagnosis", .left),
        ])
        for row in result.rows {
            var row = row
            table.append([
                try row.next(String.self), try row.next(String.self), try row.next(String.self),
                "\(try row.next(Int64.self))", "\(try row.next(Int64.self))",
                milliseconds(try row.nextOptional(Double.self)),
                milliseconds(try row.nextOptional(Double.self)),
                milliseconds(try row.nextOptional(Double.self)),
                try row.nextOptional(String.self) ?? "",
            ])
        }
        return table.lines
    }

    /// One decimal; a dash where nothing was measured.
    private static func milliseconds(_ value: Double?) -> String {
        guard let value, let tenths = Int64(exactly: (value * 10).rounded()) else { return "–" }
        return "\(tenths / 10).\(tenths % 10) ms"
    }
}

package import Postgres
internal import Telemetry

/// The rows of the tables in their canonical form, read without the aggregator's code.
///
/// For one snapshot of both tables and the progress, call this within one transaction at `REPEATABLE READ`.
package struct StoredRows {
    private let connection: PostgresConnection

    package init(_ connection: PostgresConnection) {
        self.connection = connection
    }

    /// The rows of `agg_1m` whose minutes begin in the given span, by minute, client and target.
    package func cells(
        fromMilliseconds from: Int64? = nil, beforeMilliseconds before: Int64? = nil
    ) throws(PostgresError) -> [CanonicalRow] {
        var parameters = PostgresParameters()
        parameters.append(from.map { PostgresTimestamp(milliseconds: $0) } ?? .distantPast)
        parameters.append(before.map { PostgresTimestamp(milliseconds: $0) } ?? .distantFuture)
        let result = try connection.query(Self.readCells, parameters)
        var rows: [CanonicalRow] = []
        rows.reserveCapacity(result.rowCount)
        for var row in result.rows { rows.append(try Self.cell(&row).row) }
        return rows
    }

    private static let readCells: PostgresStatement = {
        let metrics = Metric.allCases.flatMap { metric in
            ["count", "sum", "min", "max", "p50", "p95", "p99", "sketch"].map {
                "\(metric.sqlName)_\($0)"
            }
        }
        let columns =
            CanonicalCell.countNames + metrics + CanonicalCell.textNames
            + ["asn", "context_ts_ms"]
        return PostgresStatement(
            "recount_cells",
            """
            SELECT window_start_ts, client_id, target, \(columns.joined(separator: ", "))
            FROM agg_1m WHERE window_start_ts >= $1 AND window_start_ts < $2
            ORDER BY window_start_ts, client_id, target
            """)
    }()

    private static func cell(_ row: inout PostgresRow) throws(PostgresError) -> CanonicalCell {
        let window = try row.next(PostgresTimestamp.self).milliseconds
        let client: String = try row.next()
        let target: String = try row.next()
        var counts: [Int64] = []
        for _ in CanonicalCell.countNames { counts.append(try row.next()) }
        var metrics: [CanonicalMetric] = []
        for _ in Metric.allCases {
            metrics.append(
                CanonicalMetric(
                    count: try row.next(), sum: try row.nextOptional(),
                    minimum: try row.nextOptional(), maximum: try row.nextOptional(),
                    quantiles: [
                        try row.nextOptional(), try row.nextOptional(), try row.nextOptional(),
                    ],
                    sketch: try row.nextOptionalArray()))
        }
        var texts: [String?] = []
        for _ in CanonicalCell.textNames { texts.append(try row.nextOptional()) }
        return CanonicalCell(
            windowStartMilliseconds: window, client: client, target: target, counts: counts,
            metrics: metrics, texts: texts, asn: try row.nextOptional(),
            contextMilliseconds: try row.nextOptional())
    }

    /// The rows of `probe_sessions`, by client and session.
    package func sessions() throws(PostgresError) -> [CanonicalRow] {
        let result = try connection.query(Self.readSessions)
        var rows: [CanonicalRow] = []
        rows.reserveCapacity(result.rowCount)
        for var row in result.rows { rows.append(try Self.session(&row).row) }
        return rows
    }

    private static let readSessions = PostgresStatement(
        "recount_sessions",
        """
        SELECT client_id, session_id, partition,
            ARRAY(SELECT lower(r) FROM unnest(counted_seqs) AS r ORDER BY r),
            ARRAY(SELECT upper(r) FROM unnest(counted_seqs) AS r ORDER BY r),
            first_ts, last_ts, events, duplicates
        FROM probe_sessions ORDER BY client_id, session_id
        """)

    private static func session(
        _ row: inout PostgresRow
    ) throws(PostgresError) -> CanonicalSession {
        let client: String = try row.next()
        let session: PostgresUUID = try row.next()
        let partition: Int32 = try row.next()
        let first = try row.nextArray(of: Int64.self)
        let end = try row.nextArray(of: Int64.self)
        return CanonicalSession(
            client: client, session: UniqueID(high: session.high, low: session.low),
            partition: Int(partition),
            counted: zip(first, end).map { (UInt64(clamping: $0), UInt64(clamping: $1)) },
            firstMilliseconds: try row.nextOptional(PostgresTimestamp.self)?.milliseconds,
            lastMilliseconds: try row.nextOptional(PostgresTimestamp.self)?.milliseconds,
            events: try row.next(), duplicates: try row.next())
    }
}

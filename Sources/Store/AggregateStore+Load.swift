package import Postgres
internal import Telemetry
package import Windowing

extension AggregateStore {
    /// The rows of `keys` that exist, in one round trip.
    package func load(cells keys: [CellKey]) throws(PostgresError) -> [CellRow] {
        guard let first = keys.map(\.window).min(), let last = keys.map(\.window).max() else {
            return []
        }
        var parameters = PostgresParameters()
        parameters.append(arrayOf: keys) { $0.client.text }
        parameters.append(arrayOf: keys) { $0.target.text }
        parameters.append(arrayOf: keys) {
            PostgresTimestamp(milliseconds: $0.window.startMilliseconds)
        }
        parameters.append(PostgresTimestamp(milliseconds: first.startMilliseconds))
        parameters.append(PostgresTimestamp(milliseconds: last.startMilliseconds))
        let result = try connection.query(Self.loadCells, parameters)
        var rows: [CellRow] = []
        rows.reserveCapacity(result.rowCount)
        for var row in result.rows {
            let position = try row.next(Int64.self) - 1
            guard let position = Int(exactly: position), keys.indices.contains(position) else {
                throw PostgresError(.unexpectedResult, "a row that was not asked for")
            }
            rows.append(try CellColumns.read(keys[position], &row))
        }
        return rows
    }

    /// OFFSET 0 keeps the planner from joining in any other way than one index search per key, in
    /// the one partition that the key's time selects; the span of times spares the others at the
    /// start.
    static let loadCells = PostgresStatement(
        "load_cells",
        """
        SELECT k.position, a.*
        FROM unnest($1::text[], $2::text[], $3::timestamptz[]) WITH ORDINALITY
            AS k (client_id, target, window_start_ts, position)
        CROSS JOIN LATERAL (
            SELECT \(CellColumns.state.joined(separator: ", ")) FROM agg_1m AS t
            WHERE t.client_id = k.client_id AND t.target = k.target
                AND t.window_start_ts = k.window_start_ts
                AND t.window_start_ts BETWEEN $4 AND $5
            OFFSET 0
        ) AS a
        """)

    /// The rows of `keys` that exist, in one round trip.
    package func load(sessions keys: [SessionKey]) throws(PostgresError) -> [SessionRow] {
        guard !keys.isEmpty else { return [] }
        var parameters = PostgresParameters()
        parameters.append(arrayOf: keys) { $0.client.text }
        parameters.append(arrayOf: keys) { PostgresUUID($0.session) }
        let result = try connection.query(Self.loadSessions, parameters)
        var rows: [SessionRow] = []
        rows.reserveCapacity(result.rowCount)
        for var row in result.rows {
            let position = try row.next(Int64.self) - 1
            guard let position = Int(exactly: position), keys.indices.contains(position) else {
                throw PostgresError(.unexpectedResult, "a row that was not asked for")
            }
            rows.append(try Self.session(keys[position], &row))
        }
        return rows
    }

    static let loadSessions = PostgresStatement(
        "load_sessions",
        """
        SELECT k.position, s.*
        FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS k (client_id, session_id, position)
        CROSS JOIN LATERAL (
            SELECT ARRAY(SELECT lower(r) FROM unnest(t.counted_seqs) AS r ORDER BY r),
                ARRAY(SELECT upper(r) FROM unnest(t.counted_seqs) AS r ORDER BY r),
                first_ts, last_ts, events, duplicates, last_seq
            FROM probe_sessions AS t
            WHERE t.client_id = k.client_id AND t.session_id = k.session_id
            OFFSET 0
        ) AS s
        """)

    private static func session(
        _ key: SessionKey, _ row: inout PostgresRow
    ) throws(PostgresError) -> SessionRow {
        let lower = try row.nextArray(of: Int64.self)
        let upper = try row.nextArray(of: Int64.self)
        var ranges: [Range<UInt64>] = []
        for (first, end) in zip(lower, upper) {
            guard first >= 0, end > first else { throw damagedSession }
            ranges.append(UInt64(first)..<UInt64(end))
        }
        guard let counted = SequenceRanges(ranges: ranges) else { throw damagedSession }
        return SessionRow(
            key: key, counted: counted,
            firstMeasuredAtMilliseconds: try row.nextOptional(PostgresTimestamp.self)?
                .milliseconds ?? .max,
            lastMeasuredAtMilliseconds: try row.nextOptional(PostgresTimestamp.self)?
                .milliseconds ?? .min,
            events: try row.next(), duplicates: try row.next(),
            lastSequence: UInt64(clamping: try row.next(Int64.self)))
    }

    private static let damagedSession = PostgresError(
        .unexpectedResult, "a row of probe_sessions is damaged: counted_seqs")
}

package import Postgres
internal import Telemetry
package import Windowing

/// A row of `agg_1m` as the diagnoser reads it.
package struct DiagnosisRow: Hashable, Sendable {
    package let row: CellRow
    /// Names the state that was read; a label is written only while it lasts.
    package let updatedAt: PostgresTimestamp
    /// The label of an earlier state.
    package let label: String?
}

/// A label for a row.
package struct DiagnosisLabel: Hashable, Sendable {
    package let key: CellKey
    /// Nil when nothing can be said.
    package let label: String?
    /// ``DiagnosisRow/updatedAt`` of the state that it was made from.
    package let updatedAt: PostgresTimestamp

    package init(key: CellKey, label: String?, updatedAt: PostgresTimestamp) {
        self.key = key
        self.label = label
        self.updatedAt = updatedAt
    }
}

/// What the diagnoser reads and writes, behind one connection.
///
/// Blocking: use it from the connection's owned thread.
package final class DiagnosisStore {
    let connection: PostgresConnection

    package init(_ connection: PostgresConnection) {
        self.connection = connection
    }

    /// How far back ``changedWindows(since:)`` looks beyond its cursor: a change is dated by the
    /// start of its transaction and seen at its end, which statement_timeout and the flushes' size
    /// keep well below this.
    private static let visibilityDelay = "2 minutes"

    /// The windows that changed since `cursor`, and the cursor for the next call; nil begins with
    /// all that are known.
    ///
    /// A window may be reported again; none is left out.
    package func changedWindows(
        since cursor: PostgresTimestamp?
    ) throws(PostgresError) -> (windows: [Window], cursor: PostgresTimestamp) {
        var parameters = PostgresParameters()
        parameters.append(cursor ?? .distantPast)
        let result = try connection.query(Self.readChanges, parameters)
        var row = try result.only()
        let next: PostgresTimestamp = try row.next()
        let windows = try row.nextArray(of: PostgresTimestamp.self)
        return (windows.map { Window(containing: $0.milliseconds) }, next)
    }

    private static let readChanges = PostgresStatement(
        "changed_windows",
        """
        -- A replica shows changes up to the last commit that it has replayed; what it says of later ones comes
        -- later.
        SELECT CASE WHEN pg_is_in_recovery()
                THEN coalesce(pg_last_xact_replay_timestamp(), '-infinity') ELSE now() END, ARRAY(
            SELECT DISTINCT window_start_ts FROM window_changes
            WHERE changed_at >= $1::timestamptz - interval '\(visibilityDelay)' ORDER BY 1)
        """)

    /// The rows of `window` whose state has changed since they were last labelled, or were never.
    package func undiagnosedRows(of window: Window) throws(PostgresError) -> [DiagnosisRow] {
        var parameters = PostgresParameters()
        parameters.append(PostgresTimestamp(milliseconds: window.startMilliseconds))
        let result = try connection.query(Self.readRows, parameters)
        var rows: [DiagnosisRow] = []
        rows.reserveCapacity(result.rowCount)
        for var row in result.rows {
            let key = CellKey(
                client: Name(try row.next()), target: Name(try row.next()), window: window)
            let updatedAt: PostgresTimestamp = try row.next()
            let label: String? = try row.nextOptional()
            rows.append(
                DiagnosisRow(
                    row: try CellColumns.read(key, &row), updatedAt: updatedAt, label: label))
        }
        return rows
    }

    static let readRows = PostgresStatement(
        "undiagnosed_rows",
        """
        SELECT client_id, target, updated_at, diagnosis_label,
            \(CellColumns.state.joined(separator: ", "))
        FROM agg_1m
        WHERE window_start_ts = $1 AND diagnosed_at IS DISTINCT FROM updated_at
        ORDER BY client_id, target
        """)

    /// Writes labels in one statement; rows that changed since they were read are skipped, and
    /// come again with ``changedWindows(since:)``.
    ///
    /// - Returns: how many were written.
    package func write(_ labels: [DiagnosisLabel]) throws(PostgresError) -> Int {
        guard let first = labels.map(\.key.window).min(), let last = labels.map(\.key.window).max()
        else { return 0 }
        // In the order of the aggregator's writes, so that the two cannot wait for each other.
        let sorted = labels.sorted { $0.key < $1.key }
        var parameters = PostgresParameters()
        parameters.append(arrayOf: sorted) { $0.key.client.text }
        parameters.append(arrayOf: sorted) { $0.key.target.text }
        parameters.append(arrayOf: sorted) {
            PostgresTimestamp(milliseconds: $0.key.window.startMilliseconds)
        }
        parameters.append(arrayOf: sorted) { $0.label?.withoutNull }
        parameters.append(arrayOf: sorted) { $0.updatedAt }
        parameters.append(PostgresTimestamp(milliseconds: first.startMilliseconds))
        parameters.append(PostgresTimestamp(milliseconds: last.startMilliseconds))
        var row = try connection.query(Self.writeLabels, parameters).only()
        return Int(clamping: try row.next(Int64.self))
    }

    static let writeLabels = PostgresStatement(
        "write_labels",
        """
        WITH labelled AS (
            UPDATE agg_1m AS t SET diagnosis_label = l.label, diagnosed_at = l.updated_at
            FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::timestamptz[])
                AS l (client_id, target, window_start_ts, label, updated_at)
            WHERE t.client_id = l.client_id AND t.target = l.target
                AND t.window_start_ts = l.window_start_ts AND t.updated_at = l.updated_at
                AND t.window_start_ts BETWEEN $6 AND $7
            RETURNING t.window_start_ts
        ), queued AS (
            -- The hour's label is made of its minutes'.
            INSERT INTO rollup_queue (level, window_start_ts)
            SELECT DISTINCT '1h', date_trunc('hour', window_start_ts, 'UTC') FROM labelled
        )
        SELECT count(*) FROM labelled
        """)
}

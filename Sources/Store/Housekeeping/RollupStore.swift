package import Postgres

/// The queue of rollups and the making of them, behind one connection.
///
/// One instance at a time works on them: an advisory lock of the transaction, so that whatever ends the
/// transaction ends the turn. Making one again changes nothing unless what it is made of has changed.
///
/// Blocking: use it from the connection's owned thread.
package final class RollupStore {
    private let connection: PostgresConnection

    package init(_ connection: PostgresConnection) {
        self.connection = connection
    }

    /// What has waited for its time and is to be made now: hours before days, the newest first.
    ///
    /// Notes of the same hour are made one, so that the queue stays as long as the list of what changed.
    ///
    /// - Parameters:
    ///   - hourDelay: How long an hour waits after its first change, so that one making serves many changes.
    ///   - dayDelay: The same for a day.
    /// - Returns: nil when another instance works on them.
    package func due(
        hourDelay: Duration, dayDelay: Duration, limit: Int
    ) throws(PostgresError) -> [Rollup]? {
        try connection.transaction { () throws(PostgresError) -> [Rollup]? in
            guard try isOurTurn() else { return nil }
            _ = try connection.query(Self.mergeNotes)
            var parameters = PostgresParameters()
            parameters.append(hourDelay.milliseconds)
            parameters.append(dayDelay.milliseconds)
            parameters.append(Int64(clamping: limit))
            var rollups: [Rollup] = []
            for var row in try connection.query(Self.listDue, parameters).rows {
                let isDay = try row.next(Bool.self)
                rollups.append(Rollup(isDay ? .day : .hour, start: try row.next()))
            }
            return rollups
        }
    }

    /// Makes a rollup again of what is in the tables now.
    package func make(_ rollup: Rollup) throws(PostgresError) -> RollupOutcome {
        try connection.transaction { () throws(PostgresError) -> RollupOutcome in
            guard try isOurTurn() else { return .busy }
            var parameters = PostgresParameters()
            parameters.append(rollup.level.rawValue)
            parameters.append(rollup.start)
            var row = try connection.query(Self.roll, parameters).only()
            guard let changed: Int64 = try row.nextOptional() else { return .sourceRemoved }
            return .made(changedRows: changed)
        }
    }

    package func backlog() throws(PostgresError) -> RollupBacklog {
        var row = try connection.query(Self.countBacklog).only()
        return RollupBacklog(
            hours: try row.next(), days: try row.next(), oldestSeconds: try row.nextOptional())
    }

    /// Takes the turn for this transaction, unless another instance has it.
    private func isOurTurn() throws(PostgresError) -> Bool {
        var row = try connection.query(Self.takeTurn).only()
        return try row.next(Bool.self)
    }

    /// The lock that `qoe_roll` takes.
    static let turnKey: Int64 = 0x716F_655F_726F_6C6C

    private static let takeTurn = PostgresStatement(
        "rollup_turn", "SELECT pg_try_advisory_xact_lock(\(turnKey))")

    /// The oldest note stays: it says since when the rollup waits.
    private static let mergeNotes = PostgresStatement(
        "rollup_merge_notes",
        """
        DELETE FROM rollup_queue AS q USING (
            SELECT level, window_start_ts, min(id) AS kept FROM rollup_queue
            GROUP BY level, window_start_ts HAVING count(*) > 1) AS doubled
        WHERE q.level = doubled.level AND q.window_start_ts = doubled.window_start_ts
            AND q.id > doubled.kept
        """)

    private static let listDue = PostgresStatement(
        "rollup_due",
        """
        SELECT level = '1d', window_start_ts FROM rollup_queue
        WHERE noted_at <= now()
            - CASE level WHEN '1h' THEN $1::bigint ELSE $2::bigint END * interval '1 ms'
        ORDER BY level = '1d', window_start_ts DESC LIMIT $3
        """)

    private static let roll = PostgresStatement("rollup_make", "SELECT qoe_roll($1, $2)")

    private static let countBacklog = PostgresStatement(
        "rollup_backlog",
        """
        SELECT count(DISTINCT window_start_ts) FILTER (WHERE level = '1h'),
            count(DISTINCT window_start_ts) FILTER (WHERE level = '1d'),
            extract(epoch FROM now() - min(noted_at))::double precision
        FROM rollup_queue
        """)
}

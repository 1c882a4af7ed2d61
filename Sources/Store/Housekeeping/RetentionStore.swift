package import Postgres

/// A table whose rows are removed by whole partitions of time.
package enum RetainedTable: String, CaseIterable, Sendable {
    case minutes = "agg_1m"
    case hours = "agg_1h"
    case dimensionHours = "agg_dim_1h"
    case days = "agg_1d"
    case dimensionDays = "agg_dim_1d"
}

/// A partition of a ``RetainedTable``.
package struct TimePartition: Hashable, Sendable {
    package let table: RetainedTable
    package let name: String
    /// Rows of the partition begin before this.
    package let end: PostgresTimestamp
}

/// Making partitions ahead and removing old ones, behind one connection.
///
/// Removing takes the rights of `qoe_owner`, which ``becomeOwner()`` asks for; all else those of `qoe_writer`.
///
/// Blocking: use it from the connection's owned thread.
package final class RetentionStore {
    private let connection: PostgresConnection

    package init(_ connection: PostgresConnection) {
        self.connection = connection
    }

    // MARK: Ahead

    /// Partitions exist for so many days ahead, should nobody be able to make them for a while.
    package static let daysAheadUsual = 7

    /// Makes the partitions from today to `daysAhead` days ahead that are missing.
    package func ensurePartitions(
        daysAhead: Int = daysAheadUsual
    ) throws(PostgresError) -> Int {
        var parameters = PostgresParameters()
        parameters.append(Int64(clamping: daysAhead))
        var row = try connection.query(Self.ensureAhead, parameters).only()
        return Int(try row.next(Int32.self))
    }

    private static let ensureAhead = PostgresStatement(
        "retention_ensure",
        """
        SELECT qoe_ensure_partitions(today, today + $1::bigint::int)
            + qoe_ensure_rollup_partitions(today, today + $1::bigint::int)
        FROM (SELECT (now() AT TIME ZONE 'UTC')::date AS today) AS t
        """)

    // MARK: Behind

    /// The time up to which all of the log has been counted: what is younger by the retention may still come.
    ///
    /// - Returns: nil while a partition has never been read, or there is none.
    package func countedThrough(
        ofStream stream: String
    ) throws(PostgresError) -> PostgresTimestamp? {
        var parameters = PostgresParameters()
        parameters.append(stream)
        var row = try connection.query(Self.readCounted, parameters).only()
        return try row.nextOptional()
    }

    private static let readCounted = PostgresStatement(
        "retention_counted",
        """
        SELECT CASE WHEN count(*) > 0 AND count(*) = count(complete_through)
            THEN least(min(complete_through), now()) END
        FROM partition_progress WHERE stream = $1
        """)

    /// The partitions of `table` whose rows all begin before `floor`, the oldest first.
    package func partitions(
        of table: RetainedTable, before floor: PostgresTimestamp
    ) throws(PostgresError) -> [TimePartition] {
        var parameters = PostgresParameters()
        parameters.append(table.rawValue)
        parameters.append(floor)
        var found: [TimePartition] = []
        for var row in try connection.query(Self.listPartitions, parameters).rows {
            found.append(
                TimePartition(table: table, name: try row.next(), end: try row.next()))
        }
        return found
    }

    private static let listPartitions = PostgresStatement(
        "retention_partitions",
        """
        SELECT relname::text, until FROM (
            SELECT c.relname,
                substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \\(''([^'']+)''\\)')
                    ::timestamptz AS until
            FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
            WHERE i.inhparent = $1::text::regclass AND NOT i.inhdetachpending) AS p
        WHERE until <= $2 ORDER BY until
        """)

    /// Hours or days that wait to be made of rows of `partition`.
    package func waitingRollups(
        of partition: TimePartition
    ) throws(PostgresError) -> [Rollup] {
        let level: Rollup.Level
        switch partition.table {
        case .minutes: level = .hour
        case .hours, .dimensionHours: level = .day
        case .days, .dimensionDays: return []
        }
        var parameters = PostgresParameters()
        parameters.append(level.rawValue)
        parameters.append(partition.end)
        var rollups: [Rollup] = []
        for var row in try connection.query(Self.listWaiting, parameters).rows {
            rollups.append(Rollup(level, start: try row.next()))
        }
        return rollups
    }

    private static let listWaiting = PostgresStatement(
        "retention_waiting",
        """
        SELECT DISTINCT window_start_ts FROM rollup_queue
        WHERE level = $1 AND window_start_ts < $2 ORDER BY 1
        """)

    /// Says that nothing is made of rows before the end of `partition` any more; after this it can be removed.
    ///
    /// Waits for a rollup that is being made.
    package func retire(_ partition: TimePartition) throws(PostgresError) {
        var parameters = PostgresParameters()
        parameters.append(partition.table.rawValue)
        parameters.append(partition.end)
        try connection.transaction { () throws(PostgresError) in
            try connection.execute("SELECT pg_advisory_xact_lock(\(RollupStore.turnKey))")
            _ = try connection.query(Self.raiseFloor, parameters)
            var name = PostgresParameters()
            name.append(partition.name)
            _ = try connection.query(Self.noteRetired, name)
        }
    }

    private static let raiseFloor = PostgresStatement(
        "retention_floor",
        """
        INSERT INTO retention_floors AS t (table_name, floor, changed_at) VALUES ($1, $2, now())
        ON CONFLICT (table_name) DO UPDATE SET floor = EXCLUDED.floor, changed_at = now()
        WHERE t.floor < EXCLUDED.floor
        """)

    private static let noteRetired = PostgresStatement(
        "retention_retire",
        "INSERT INTO retired_partitions VALUES ($1, now()) ON CONFLICT DO NOTHING")

    /// Whether a partition is retired and not gone yet.
    package func hasRetired() throws(PostgresError) -> Bool {
        var row = try connection.query("SELECT EXISTS (SELECT FROM retired_partitions)").only()
        return try row.next(Bool.self)
    }

    /// Before when the rows of `table` were removed; nil when none ever was.
    package func floor(of table: RetainedTable) throws(PostgresError) -> PostgresTimestamp? {
        var parameters = PostgresParameters()
        parameters.append(table.rawValue)
        let result = try connection.query(Self.readFloor, parameters)
        guard var row = result.first else { return nil }
        return try row.next()
    }

    private static let readFloor = PostgresStatement(
        "retention_read_floor", "SELECT floor FROM retention_floors WHERE table_name = $1")

    /// Removes retired partitions without standing in anybody's way: each is detached while readers and writers
    /// go on, which waits for the transactions that may still look at it, and then dropped by itself.
    ///
    /// Whatever is interrupted goes on with the next call.
    ///
    /// - Returns: the names of those that are gone now.
    package func removeRetired() throws(PostgresError) -> [String] {
        var removed: [String] = []
        for var row in try connection.query(Self.listRetired).rows {
            let name: String = try row.next()
            let table: String? = try row.nextOptional()
            let isHalfDetached = try row.next(Bool.self)
            let isThere = try row.next(Bool.self)
            // Neither of the two can share a transaction with anything else.
            if let table {
                try connection.execute(
                    "ALTER TABLE \(table) DETACH PARTITION \(Self.quoted(name)) "
                        + (isHalfDetached ? "FINALIZE" : "CONCURRENTLY"))
            }
            if isThere { try connection.execute("DROP TABLE \(Self.quoted(name))") }
            var parameters = PostgresParameters()
            parameters.append(name)
            _ = try connection.query(Self.forgetRetired, parameters)
            removed.append(name)
        }
        return removed
    }

    private static let listRetired = PostgresStatement(
        "retention_retired",
        """
        SELECT r.partition_name, i.inhparent::regclass::text, coalesce(i.inhdetachpending, false),
            c.oid IS NOT NULL
        FROM retired_partitions AS r
        LEFT JOIN pg_class AS c
            ON c.oid = to_regclass(quote_ident(r.partition_name))
        LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
        ORDER BY r.retired_at, r.partition_name
        """)

    private static let forgetRetired = PostgresStatement(
        "retention_forget", "DELETE FROM retired_partitions WHERE partition_name = $1")

    private static func quoted(_ name: String) -> String {
        "\""
            + name.split(separator: "\"", omittingEmptySubsequences: false).joined(
                separator: "\"\"")
            + "\""
    }

    /// Acts as `qoe_owner` from here on.
    ///
    /// - Returns: false when this login may not.
    package func becomeOwner() throws(PostgresError) -> Bool {
        var row = try connection.query(
            "SELECT pg_has_role(session_user, 'qoe_owner', 'MEMBER')"
        ).only()
        guard try row.next(Bool.self) else { return false }
        try connection.execute("SET ROLE qoe_owner")
        return true
    }

    /// Acts as the login again.
    package func resignAsOwner() throws(PostgresError) {
        try connection.execute("RESET ROLE")
    }

    // MARK: One at a time

    /// Calls `body` unless another instance is at it.
    package func alone(
        _ body: () throws(PostgresError) -> Void
    ) throws(PostgresError) {
        var row = try connection.query(Self.tryLock).only()
        guard try row.next(Bool.self) else { return }
        let outcome: Result<Void, PostgresError>
        do throws(PostgresError) {
            outcome = .success(try body())
        } catch {
            outcome = .failure(error)
        }
        // A connection that broke has given the lock back already.
        if connection.isOpen { _ = try connection.query(Self.unlock) }
        try outcome.get()
    }

    private static let lockKey: Int64 = 0x716F_655F_7265_7465

    private static let tryLock = PostgresStatement(
        "retention_lock", "SELECT pg_try_advisory_lock(\(lockKey))")
    private static let unlock = PostgresStatement(
        "retention_unlock", "SELECT pg_advisory_unlock(\(lockKey))")

    // MARK: Ledgers

    /// Removes the notes of changed minutes that are older than the rows of `agg_1m`.
    ///
    /// - Returns: how many.
    package func forgetChanges(before floor: PostgresTimestamp) throws(PostgresError) -> Int {
        try delete(Self.deleteChanges, floor)
    }

    private static let deleteChanges = PostgresStatement(
        "retention_changes",
        """
        DELETE FROM window_changes WHERE window_start_ts < $1 AND ctid = ANY(ARRAY(
            SELECT ctid FROM window_changes WHERE window_start_ts < $1 LIMIT \(rowsPerStatementMax)))
        """)

    /// Removes sessions of probes that have been silent since before `floor`.
    ///
    /// - Returns: how many.
    package func forgetSessions(silentSince floor: PostgresTimestamp) throws(PostgresError) -> Int {
        try delete(Self.deleteSessions, floor)
    }

    private static let deleteSessions = PostgresStatement(
        "retention_sessions",
        """
        DELETE FROM probe_sessions WHERE greatest(last_ts, updated_at) < $1 AND ctid = ANY(ARRAY(
            SELECT ctid FROM probe_sessions WHERE greatest(last_ts, updated_at) < $1
            LIMIT \(rowsPerStatementMax)))
        """)

    /// Removes dead letters that were forwarded before `floor`.
    ///
    /// - Returns: how many.
    package func forgetDeadLetters(
        forwardedBefore floor: PostgresTimestamp
    ) throws(PostgresError) -> Int {
        try delete(Self.deleteDeadLetters, floor)
    }

    private static let deleteDeadLetters = PostgresStatement(
        "retention_dead_letters",
        """
        DELETE FROM dead_letters WHERE forwarded_at < $1 AND ctid = ANY(ARRAY(
            SELECT ctid FROM dead_letters WHERE forwarded_at < $1 LIMIT \(rowsPerStatementMax)))
        """)

    private func delete(
        _ statement: PostgresStatement, _ floor: PostgresTimestamp
    ) throws(PostgresError) -> Int {
        var parameters = PostgresParameters()
        parameters.append(floor)
        return try connection.query(statement, parameters).affectedRows
    }

    /// Rows that one statement removes, so that none holds its locks for long.
    private static let rowsPerStatementMax = 10_000
}

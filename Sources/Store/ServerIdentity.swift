package import Postgres

/// The identity of the server behind a connection; compared on every reconnect.
package struct ServerIdentity: Hashable, Sendable {
    /// `system_identifier` of the cluster: the same on all its replicas.
    package let systemIdentifier: Int64
    /// Grows by one at every promotion; a lower one than seen before is a primary left behind.
    package let timeline: Int64
    /// Whether the server is a standby.
    package let isInRecovery: Bool
}

extension ServerIdentity {
    /// Asks the server behind `connection`.
    package init(of connection: PostgresConnection) throws(PostgresError) {
        // Right after a promotion the control file still names the old timeline; the name of the
        // current log file is right, but only a primary has one.
        let result = try connection.query(
            PostgresStatement(
                "server_identity",
                """
                SELECT system_identifier, CASE WHEN pg_is_in_recovery()
                    THEN (SELECT timeline_id::bigint FROM pg_control_checkpoint())
                    ELSE ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))
                        ::bit(64)::bigint END, pg_is_in_recovery()
                FROM pg_control_system()
                """))
        var row = try result.only()
        self.init(
            systemIdentifier: try row.next(), timeline: try row.next(),
            isInRecovery: try row.next())
    }
}

/// Why a primary is not to be written to.
package struct PrimaryLeftBehind: Error, Hashable, Sendable, CustomStringConvertible {
    package let timeline: Int64
    package let highest: Int64

    package var description: String {
        "this server is on timeline \(timeline), a newer primary was seen on timeline \(highest): it was left behind "
            + "by a failover; qoectl db rejoin makes it a replica"
    }
}

/// The highest timeline that a program has seen of a database, for one that has no other place to ask.
package struct SeenTimelines: Sendable {
    private var seen: ServerIdentity?

    package init() {}

    /// Remembers a primary, or refuses one that was promoted less often than an earlier one of the same database.
    ///
    /// A standby is neither: it refuses to be written to by itself, and may not know its timeline yet.
    package mutating func check(_ found: ServerIdentity) throws(PrimaryLeftBehind) {
        guard !found.isInRecovery else { return }
        if let seen, seen.systemIdentifier == found.systemIdentifier,
            found.timeline < seen.timeline
        {
            throw PrimaryLeftBehind(timeline: found.timeline, highest: seen.timeline)
        }
        seen = found
    }
}

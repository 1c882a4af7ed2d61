/// How far a replica is behind its primary, as far as it knows itself.
package struct PostgresReplicaState: Sendable {
    package let host: String
    /// Between now and the newest commit that the replica has replayed, by both clocks: the most it can be
    /// behind while it follows. Nil when it has replayed none since its start.
    package let seconds: Double?
    /// Whether everything that it received is replayed.
    package let hasReplayedAll: Bool
    /// Whether it receives from a primary now.
    package let isFollowing: Bool

    /// Asks the server; nil when it is no replica. Blocks.
    package static func of(_ database: PostgresConnection) throws(PostgresError)
        -> PostgresReplicaState?
    {
        let result = try database.query(
            """
            SELECT extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float8,
                coalesce(pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn(), true),
                EXISTS (SELECT 1 FROM pg_stat_wal_receiver)
            WHERE pg_is_in_recovery()
            """)
        guard var row = result.first else { return nil }
        return PostgresReplicaState(
            host: database.host ?? "",
            seconds: try row.nextOptional(Double.self).map { max(0, $0) },
            hasReplayedAll: try row.next(), isFollowing: try row.next())
    }
}

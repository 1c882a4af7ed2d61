package import Postgres
internal import Telemetry
internal import Windowing

/// The aggregates and the progress of partitions, behind one connection.
///
/// Blocking: use it from the connection's owned thread. Nothing here retries; a
/// ``PostgresError`` says by ``PostgresError/retry`` whether to, and by
/// ``PostgresError/needsNewConnection`` whether that takes a new store.
package final class AggregateStore {
    let connection: PostgresConnection
    let cellType: PostgresTypeID

    /// Prepares the session of `connection` for writing.
    ///
    /// A transaction that stands still is ended by the server, so that a frozen owner cannot hold
    /// its row, and a statement that runs or waits too long is given up.
    ///
    /// - Parameter statementTimeout: How long a statement may run.
    package init(
        _ connection: PostgresConnection, statementTimeout: Duration = .seconds(30)
    ) throws(PostgresError) {
        self.connection = connection
        try connection.execute(
            """
            SET idle_in_transaction_session_timeout = '3s';
            SET statement_timeout = \(statementTimeout.milliseconds);
            SET lock_timeout = '5s';
            SET timezone = 'UTC';
            -- Raised, never lowered: a cluster may ask for more than "on".
            SELECT set_config('synchronous_commit', 'on', false)
                WHERE current_setting('synchronous_commit') IN ('off', 'local');
            """)
        cellType = try connection.typeID(of: "qoe_cell")
    }

    /// The hours and days, on this connection.
    package var rollups: RollupStore { RollupStore(connection) }

    /// What is kept how long, on this connection.
    package var retention: RetentionStore { RetentionStore(connection) }

    /// The identity of the server behind the connection.
    package func serverIdentity() throws(PostgresError) -> ServerIdentity {
        try ServerIdentity(of: connection)
    }
}

extension PostgresResult {
    /// The first row of a result that always has one.
    func only() throws(PostgresError) -> PostgresRow {
        guard let first else {
            throw PostgresError(.unexpectedResult, "a row was expected")
        }
        return first
    }
}

extension PostgresTimestamp {
    /// The instant of optional Unix milliseconds.
    init?(milliseconds: Int64?) {
        guard let milliseconds else { return nil }
        self.init(milliseconds: milliseconds)
    }
}

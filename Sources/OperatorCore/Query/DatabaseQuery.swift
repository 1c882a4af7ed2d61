package import Postgres

/// A question that a person asks the database, in a transaction that cannot write.
package struct DatabaseQuery {
    private let database: PostgresConnection
    private let timeout: Duration

    /// What all values together may take: a query that returns more is not for a terminal.
    private static let byteLimit = 256 << 20
    /// The server ends a statement; the wait ends later, for a server that does not.
    private static let answerMargin = Duration.seconds(5)

    /// - Parameters:
    ///   - database: Is closed by ``run(_:rowLimit:)``.
    ///   - timeout: What the server allows the statement; from 1 ms.
    package init(_ database: PostgresConnection, timeout: Duration) {
        self.database = database
        self.timeout = timeout
    }

    /// Runs one statement and returns at most `rowLimit` of its rows. Blocks.
    ///
    /// Times come in UTC, whatever the role's settings are.
    ///
    /// - Throws: ``PostgresError``, with a report where the server refused the statement.
    package func run(_ sql: String, rowLimit: Int) throws(PostgresError) -> PostgresText {
        // A cancellation for too many rows may hit whatever comes next.
        defer { database.close() }
        let milliseconds = max(1, timeout.milliseconds)
        try database.execute(
            """
            SET default_transaction_read_only = on;
            SET statement_timeout = \(milliseconds);
            SET timezone = 'UTC';
            SET datestyle = 'ISO';
            SET intervalstyle = 'postgres';
            SET extra_float_digits = 1;
            SET bytea_output = 'hex';
            """)
        try database.execute("BEGIN READ ONLY")
        database.timeout = timeout + Self.answerMargin
        return try database.queryText(sql, rowLimit: rowLimit, byteLimit: Self.byteLimit)
    }
}

extension Duration {
    /// Whole milliseconds, rounded down; at most what `statement_timeout` takes.
    fileprivate var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        let attosecondsPerMillisecond: Int64 = 1_000_000_000_000_000
        let longestSeconds = Int64(Int32.max) / 1_000 - 1
        return min(seconds, longestSeconds) * 1_000 + attoseconds / attosecondsPerMillisecond
    }
}

package import Postgres

extension AggregateStore {
    /// Makes the partition of `agg_1m` for a day, unless there is one.
    ///
    /// - Parameter day: Days since the Unix epoch, UTC.
    package func ensurePartition(ofDay day: Int64) throws(PostgresError) {
        var parameters = PostgresParameters()
        parameters.append(day)
        _ = try connection.query(Self.ensureDay, parameters)
    }

    private static let ensureDay = PostgresStatement(
        "ensure_day",
        """
        SELECT qoe_ensure_partitions(d, d) FROM (SELECT date '1970-01-01' + $1::bigint::int) AS t (d)
        """)
}

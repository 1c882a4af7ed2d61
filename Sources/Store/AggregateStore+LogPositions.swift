package import Postgres
internal import Windowing

/// What of its stream a partition may still need.
package struct LogPosition: Hashable, Sendable {
    package let partition: Int
    /// The last sequence whose effects are in the tables.
    package let committedSequence: UInt64
    /// The first sequence that is read after a restart.
    package let replayFromSequence: UInt64
    /// Whether its newest message is older than identifiers are remembered.
    package let isSettled: Bool

    package init(
        partition: Int, committedSequence: UInt64, replayFromSequence: UInt64, isSettled: Bool
    ) {
        self.isSettled = isSettled
        self.partition = partition
        self.committedSequence = committedSequence
        self.replayFromSequence = replayFromSequence
    }
}

extension AggregateStore {
    /// Where every partition of a stream stands, whoever owns it.
    package func logPositions(ofStream stream: String) throws(PostgresError) -> [LogPosition] {
        var parameters = PostgresParameters()
        parameters.append(stream)
        var positions: [LogPosition] = []
        for var row in try connection.query(Self.readPositions, parameters).rows {
            let partition: Int32 = try row.next()
            let committed: Int64 = try row.next()
            let replayFrom: Int64 = try row.next()
            let isSettled: Bool = try row.next()
            positions.append(
                LogPosition(
                    partition: Int(partition), committedSequence: UInt64(clamping: committed),
                    replayFromSequence: UInt64(clamping: replayFrom), isSettled: isSettled))
        }
        return positions
    }

    private static let readPositions = PostgresStatement(
        "log_positions",
        """
        SELECT partition, committed_seq, replay_from_seq,
            coalesce(
                committed_ts < now() - interval '\(RecentIDs.horizonMilliseconds) ms', true)
        FROM partition_progress
        WHERE stream = $1 ORDER BY partition
        """)
}

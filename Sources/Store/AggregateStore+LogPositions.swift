package import Postgres
package import Windowing

/// What of its stream a partition may still need.
package struct LogPosition: Hashable, Sendable {
    package let partition: Int
    /// The last sequence whose effects are in the tables.
    package let committedSequence: UInt64
    /// The first sequence that is read after a restart.
    package let replayFromSequence: UInt64
    /// Whether its newest message is older than identifiers are remembered.
    package let isSettled: Bool
    /// The newest message that the stream is to be recognised by; nil before there is one.
    package let anchor: LogAnchor?

    package init(
        partition: Int, committedSequence: UInt64, replayFromSequence: UInt64, isSettled: Bool,
        anchor: LogAnchor? = nil
    ) {
        self.isSettled = isSettled
        self.anchor = anchor
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
            let anchors = try [LogAnchor](json: try row.next())
            positions.append(
                LogPosition(
                    partition: Int(partition), committedSequence: UInt64(clamping: committed),
                    replayFromSequence: UInt64(clamping: replayFrom), isSettled: isSettled,
                    anchor: anchors.first))
        }
        return positions
    }

    /// Records that messages are about to be removed from a stream, because nobody needs them any more.
    package func recordTrim(
        ofStream stream: String, createdNanoseconds: Int64, below sequence: UInt64
    ) throws(PostgresError) {
        var parameters = PostgresParameters()
        parameters.append(stream)
        parameters.append(createdNanoseconds)
        parameters.append(Int64(clamping: sequence))
        _ = try connection.query(Self.recordTrim, parameters)
    }

    /// The sequence below which aggregators have removed messages from a stream; 0 when they have not.
    package func trimmedBelow(
        ofStream stream: String, createdNanoseconds: Int64
    ) throws(PostgresError) -> UInt64 {
        var parameters = PostgresParameters()
        parameters.append(stream)
        parameters.append(createdNanoseconds)
        guard var row = try connection.query(Self.readTrim, parameters).first else { return 0 }
        return UInt64(clamping: try row.next(Int64.self))
    }

    private static let readTrim = PostgresStatement(
        "read_trim",
        "SELECT below_seq FROM stream_trims WHERE stream = $1 AND stream_created_ns = $2")

    private static let recordTrim = PostgresStatement(
        "record_trim",
        """
        INSERT INTO stream_trims AS t (stream, stream_created_ns, below_seq, trimmed_at)
        VALUES ($1, $2, $3, now())
        ON CONFLICT (stream) DO UPDATE SET stream_created_ns = EXCLUDED.stream_created_ns,
            below_seq = EXCLUDED.below_seq, trimmed_at = now()
        WHERE t.stream_created_ns <> EXCLUDED.stream_created_ns
            OR t.below_seq < EXCLUDED.below_seq
        """)

    private static let readPositions = PostgresStatement(
        "log_positions",
        """
        SELECT partition, committed_seq, replay_from_seq,
            coalesce(
                committed_ts < now() - interval '\(RecentIDs.horizonMilliseconds) ms', true),
            anchors
        FROM partition_progress
        WHERE stream = $1 ORDER BY partition
        """)
}

package import Postgres
package import Telemetry
package import Windowing

extension AggregateStore {
    /// Takes a partition for `owner`, unless another owner's lease is alive.
    ///
    /// One transaction sets the new fence and reads the progress under the same row lock, so
    /// whatever an earlier owner commits later is refused. An owner that names itself again, as
    /// after its own restart, takes its partition at once. Expiry is judged by the server's clock.
    ///
    /// - Parameters:
    ///   - owner: names the instance; shown to operators.
    ///   - nonce: 128 fresh random bits.
    ///   - lease: how long the partition is kept without a write or a renewal.
    package func acquirePartition(
        stream: String, partition: Int, owner: String, nonce: UniqueID, lease: Duration
    ) throws(PostgresError) -> Acquisition {
        try connection.transaction { () throws(PostgresError) in
            var key = PostgresParameters()
            key.append(stream)
            key.append(Int32(clamping: partition))
            _ = try connection.query(Self.createPartition, key)

            var parameters = key
            parameters.append(owner)
            parameters.append(PostgresUUID(nonce))
            parameters.append(lease.milliseconds)
            let taken = try connection.query(Self.takePartition, parameters)
            guard var row = taken.first else {
                var holder = try connection.query(Self.readHolder, key).only()
                return .heldByOther(owner: try holder.next(), until: try holder.next())
            }
            let ownership = PartitionOwnership(
                stream: stream, partition: partition, generation: try row.next(), nonce: nonce,
                epoch: try row.next(), lease: lease)
            return .acquired(
                OwnedPartition(
                    ownership: ownership, progress: try Self.progress(&row),
                    streamCreatedNanoseconds: try row.nextOptional(),
                    anchors: try [StreamAnchor](json: try row.next())))
        }
    }

    /// Extends the lease and says what the owner does.
    ///
    /// - Returns: whether the partition is still the owner's.
    package func renew(
        _ ownership: PartitionOwnership, activity: PartitionActivity = .running
    ) throws(PostgresError) -> Bool {
        var parameters = ownership.parameters
        parameters.append(ownership.lease.milliseconds)
        parameters.append(activity.rawValue)
        return try connection.query(Self.renewLease, parameters).affectedRows == 1
    }

    /// Gives the partition back, so that another instance can take it at once.
    ///
    /// - Returns: whether it was still the owner's.
    package func release(_ ownership: PartitionOwnership) throws(PostgresError) -> Bool {
        try connection.query(Self.releaseLease, ownership.parameters).affectedRows == 1
    }

    /// The progress in the table, or nil when the partition is not the owner's any more.
    package func progress(
        of ownership: PartitionOwnership
    ) throws(PostgresError) -> PartitionProgress? {
        let result = try connection.query(Self.readProgress, ownership.parameters)
        guard var row = result.first else { return nil }
        return try Self.progress(&row)
    }

    /// What became of a flush whose answer was lost; asked on a new connection.
    package func outcome(
        of batch: FlushBatch, by ownership: PartitionOwnership
    ) throws(PostgresError) -> FlushOutcome {
        guard let found = try progress(of: ownership) else { return .fenced }
        // A flush that moves no sequence may be repeated: it writes absolute values.
        if found.committedSequence == batch.expectedSequence { return .notCommitted }
        if found.committedSequence == batch.progress.committedSequence { return .committed }
        return .fenced
    }

    private static let createPartition = PostgresStatement(
        "create_partition",
        """
        INSERT INTO partition_progress (stream, partition) VALUES ($1, $2)
        ON CONFLICT DO NOTHING
        """)

    /// clock_timestamp(), since now() is from before the wait for the row.
    private static let takePartition = PostgresStatement(
        "take_partition",
        """
        UPDATE partition_progress SET owner_id = $3, owner_nonce = $4, epoch = epoch + 1,
            lease_expires_at = clock_timestamp() + $5 * interval '1 ms',
            owner_backend_pid = pg_backend_pid(), state = 'running'
        WHERE stream = $1 AND partition = $2
            AND (owner_nonce IS NULL OR owner_id = $3 OR lease_expires_at <= clock_timestamp())
        RETURNING generation, epoch, \(progressColumns), stream_created_ns, anchors
        """)

    private static let readHolder = PostgresStatement(
        "read_holder",
        """
        SELECT coalesce(owner_id, ''), coalesce(lease_expires_at, '-infinity')
        FROM partition_progress WHERE stream = $1 AND partition = $2
        """)

    private static let renewLease = PostgresStatement(
        "renew_lease",
        """
        UPDATE partition_progress SET state = $7,
            lease_expires_at = clock_timestamp() + $6 * interval '1 ms'
        WHERE \(PartitionOwnership.condition)
        """)

    private static let releaseLease = PostgresStatement(
        "release_lease",
        """
        UPDATE partition_progress SET owner_id = NULL, owner_nonce = NULL, state = 'free',
            lease_expires_at = NULL, owner_backend_pid = NULL
        WHERE \(PartitionOwnership.condition)
        """)

    private static let readProgress = PostgresStatement(
        "read_progress",
        "SELECT \(progressColumns) FROM partition_progress WHERE \(PartitionOwnership.condition)")

    private static let progressColumns = """
        committed_seq, committed_ts, replay_from_seq, complete_through, messages_read,
        messages_dead_lettered, events_read, events_counted, events_duplicate, events_rejected,
        events_late, id_conflicts
        """

    /// Reads `progressColumns`.
    private static func progress(_ row: inout PostgresRow) throws(PostgresError)
        -> PartitionProgress
    {
        var progress = PartitionProgress()
        progress.committedSequence = UInt64(clamping: try row.next(Int64.self))
        progress.committedBrokerMilliseconds = try row.nextOptional(PostgresTimestamp.self)?
            .milliseconds
        progress.replayFromSequence = UInt64(clamping: try row.next(Int64.self))
        progress.completeThroughMilliseconds = try row.nextOptional(PostgresTimestamp.self)?
            .milliseconds
        progress.counters.messages = try row.next()
        progress.counters.deadLetters = try row.next()
        progress.counters.events = try row.next()
        progress.counters.counted = try row.next()
        progress.counters.duplicates = try row.next()
        progress.counters.rejected = try row.next()
        progress.counters.late = try row.next()
        progress.counters.idConflicts = try row.next()
        return progress
    }
}

extension PartitionOwnership {
    /// Holds for the row of this ownership while it lasts; ``parameters`` are its `$1` to `$5`.
    static let condition =
        "stream = $1 AND partition = $2 AND generation = $3 AND owner_nonce = $4 AND epoch = $5"

    var parameters: PostgresParameters {
        var parameters = PostgresParameters()
        parameters.append(stream)
        parameters.append(Int32(clamping: partition))
        parameters.append(generation)
        parameters.append(PostgresUUID(nonce))
        parameters.append(epoch)
        return parameters
    }

    /// The same right in the next generation.
    var nextGeneration: PartitionOwnership {
        PartitionOwnership(
            stream: stream, partition: partition, generation: generation &+ 1, nonce: nonce,
            epoch: epoch, lease: lease)
    }
}

extension PostgresUUID {
    init(_ id: UniqueID) {
        self.init(high: id.high, low: id.low)
    }
}

extension Duration {
    var milliseconds: Double { self / .milliseconds(1) }
}

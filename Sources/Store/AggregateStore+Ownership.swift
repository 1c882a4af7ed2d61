package import Postgres
package import Telemetry
package import Windowing

extension AggregateStore {
    /// Takes a partition for `owner`, unless another owner's lease is alive.
    ///
    /// One transaction sets the new fence and reads the progress under the same row lock, so
    /// whatever an earlier owner commits later is refused. Expiry is judged by the server's clock.
    ///
    /// - Parameters:
    ///   - owner: names the instance; shown to operators.
    ///   - nonce: 128 fresh random bits.
    ///   - formerNonces: a living lease under one of them may be taken: it is the caller's own.
    ///   - takesOwnLease: whether a living lease in the name of `owner` may be taken.
    ///   - lease: how long the partition is kept without a write or a renewal.
    package func acquirePartition(
        stream: String, partition: Int, owner: String, nonce: UniqueID,
        formerNonces: [UniqueID] = [], takesOwnLease: Bool = true, lease: Duration
    ) throws(PostgresError) -> Acquisition {
        try connection.transaction { () throws(PostgresError) in
            var key = PostgresParameters()
            key.append(stream)
            key.append(Int32(clamping: partition))
            _ = try connection.query(Self.createPartition, key)

            var parameters = key
            parameters.append(arrayOf: formerNonces) { PostgresUUID($0) }
            var holder = try connection.query(Self.lockPartition, parameters).only()
            let holderName: String = try holder.next()
            let until: PostgresTimestamp = try holder.next()
            let isFree: Bool = try holder.next()
            let isExpired: Bool = try holder.next()
            let isCallers: Bool = try holder.next()
            guard isFree || isExpired || isCallers || (takesOwnLease && holderName == owner)
            else { return .heldByOther(owner: holderName, until: until) }

            parameters = key
            parameters.append(owner)
            parameters.append(PostgresUUID(nonce))
            parameters.append(lease.milliseconds)
            var row = try connection.query(Self.takePartition, parameters).only()
            let ownership = PartitionOwnership(
                stream: stream, partition: partition, generation: try row.next(), nonce: nonce,
                epoch: try row.next(), lease: lease)
            var standing = PartitionStanding(
                progress: try Self.progress(&row),
                streamCreatedNanoseconds: try row.nextOptional(),
                anchors: try [LogAnchor](json: try row.next()))
            if !isFree, !isCallers { _ = try connection.query(Self.countCrash, key) }
            try readHistory(of: key, &standing)
            return .acquired(OwnedPartition(ownership: ownership, standing: standing))
        }
    }

    /// What the other tables know of a partition.
    private func readHistory(
        of key: PostgresParameters, _ standing: inout PartitionStanding
    ) throws(PostgresError) {
        var row = try connection.query(Self.readHistory, key).only()
        let newest: PostgresTimestamp? = try row.nextOptional()
        standing.newestWindow = newest.map { Window(containing: $0.milliseconds) }
        standing.trimmedBelow = UInt64(clamping: try row.next(Int64.self))
        standing.lostRangeCount = Int(try row.next(Int64.self))
        let committed = standing.progress.committedSequence
        for var row in try connection.query(Self.readCrashes, key).rows {
            let sequence = UInt64(clamping: try row.next(Int64.self))
            let tries: Int32 = try row.next()
            if sequence == committed { standing.crashCount = Int(tries) }
            if sequence > committed { standing.begunSequence = sequence }
        }
        var parameters = key
        parameters.append(Int64(clamping: standing.progress.replayFromSequence))
        for var row in try connection.query(Self.readCrashing, parameters).rows {
            standing.crashingSequences.insert(UInt64(clamping: try row.next(Int64.self)))
        }
    }

    /// Extends the lease.
    ///
    /// - Parameter committedSequence: the progress that the table must still have.
    /// - Returns: whether the partition is still the owner's, at that progress.
    package func renew(
        _ ownership: PartitionOwnership, committedSequence: UInt64
    ) throws(PostgresError) -> Bool {
        var parameters = ownership.parameters
        parameters.append(ownership.lease.milliseconds)
        parameters.append(Int64(clamping: committedSequence))
        return try connection.query(Self.renewLease, parameters).affectedRows == 1
    }

    /// Records that counting a message begins.
    ///
    /// - Returns: how often it has begun, this time included; nil when the partition is not the owner's any more.
    package func beginMessage(
        _ sequence: UInt64, by ownership: PartitionOwnership
    ) throws(PostgresError) -> Int? {
        var parameters = ownership.parameters
        parameters.append(Int64(clamping: sequence))
        guard var row = try connection.query(Self.beginMessage, parameters).first else {
            return nil
        }
        return Int(try row.next(Int32.self))
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
    private static let lockPartition = PostgresStatement(
        "lock_partition",
        """
        SELECT coalesce(owner_id, ''), coalesce(lease_expires_at, '-infinity'),
            owner_nonce IS NULL, coalesce(lease_expires_at <= clock_timestamp(), true),
            coalesce(owner_nonce = ANY ($3::uuid[]), false)
        FROM partition_progress WHERE stream = $1 AND partition = $2 FOR UPDATE
        """)

    private static let takePartition = PostgresStatement(
        "take_partition",
        """
        UPDATE partition_progress SET owner_id = $3, owner_nonce = $4, epoch = epoch + 1,
            lease_expires_at = clock_timestamp() + $5 * interval '1 ms',
            owner_backend_pid = pg_backend_pid(), state = 'running'
        WHERE stream = $1 AND partition = $2
        RETURNING generation, epoch, \(progressColumns), stream_created_ns, anchors
        """)

    /// An owner was replaced that had not given the partition back.
    private static let countCrash = PostgresStatement(
        "count_crash",
        """
        INSERT INTO crash_ledger AS l (stream, partition, seq, tries, last_at)
        SELECT stream, partition, committed_seq, 1, now()
        FROM partition_progress WHERE stream = $1 AND partition = $2
        ON CONFLICT (stream, partition, seq) DO UPDATE SET tries = l.tries + 1, last_at = now()
        """)

    private static let readHistory = PostgresStatement(
        "read_history",
        """
        SELECT (SELECT max(window_start_ts) FROM window_changes WHERE partition = $2),
            coalesce((SELECT t.below_seq FROM stream_trims t WHERE t.stream = $1
                AND t.stream_created_ns = p.stream_created_ns), 0),
            (SELECT count(*) FROM lost_ranges WHERE stream = $1 AND partition = $2)
        FROM partition_progress p WHERE p.stream = $1 AND p.partition = $2
        """)

    private static let readCrashes = PostgresStatement(
        "read_crashes",
        "SELECT seq, tries FROM crash_ledger WHERE stream = $1 AND partition = $2 ORDER BY seq")

    /// Each of them took several deaths, so there are few.
    package static let crashingSequenceCountMax = 1000

    private static let readCrashing = PostgresStatement(
        "read_crashing",
        """
        SELECT seq FROM dead_letters WHERE stream = $1 AND partition = $2 AND seq >= $3 AND idx = -1
            AND reason = '\(DeadLetter.crashesItsReader)'
        ORDER BY seq DESC LIMIT \(crashingSequenceCountMax)
        """)

    private static let beginMessage = PostgresStatement(
        "begin_message",
        """
        INSERT INTO crash_ledger AS l (stream, partition, seq, tries, last_at)
        SELECT stream, partition, $6, 1, now() FROM partition_progress
        WHERE \(PartitionOwnership.condition)
        ON CONFLICT (stream, partition, seq) DO UPDATE SET tries = l.tries + 1, last_at = now()
        RETURNING tries
        """)

    private static let renewLease = PostgresStatement(
        "renew_lease",
        """
        UPDATE partition_progress SET state = 'running',
            lease_expires_at = clock_timestamp() + $6 * interval '1 ms'
        WHERE \(PartitionOwnership.condition) AND committed_seq = $7
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
        committed_seq, committed_ts, replay_from_seq, complete_through, counted_through_seq,
        messages_read,
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
        progress.countedThroughSequence = UInt64(clamping: try row.next(Int64.self))
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

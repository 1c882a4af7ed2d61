internal import Postgres
internal import Telemetry
package import Windowing

extension AggregateStore {
    /// Writes a batch: all of it, or nothing.
    ///
    /// One round trip and one transaction: the fence, changed cells, sessions, windows, dead
    /// letters, COMMIT. Rows whose table version is from a newer message are left alone and
    /// counted in the receipt. Writing the same batch again after an unknown outcome is safe
    /// while ``outcome(of:by:)`` says `.notCommitted`.
    ///
    package func flush(
        _ batch: FlushBatch, by ownership: PartitionOwnership
    ) throws(FlushError) -> FlushReceipt {
        var steps = FlushSteps()
        steps.append(
            Self.fence(
                ownership, batch.expectedSequence, batch.progress, batch.anchors,
                createdNanoseconds: batch.logCreatedNanoseconds))
        steps.append(upsertsOf: batch.cells, type: cellType, ownership)
        if !batch.sessions.isEmpty {
            steps.sessions = steps.append(Self.upsert(sessions: batch.sessions, ownership))
        }
        if !batch.cells.isEmpty {
            steps.append(Self.note(windows: batch.changedWindows, ownership))
        }
        if !batch.deadLetters.isEmpty {
            steps.append(Self.insert(batch.deadLetters, ownership))
        }
        if batch.clearsCrashLedger {
            steps.append(
                Self.clearCrashes(ownership, through: batch.progress.committedSequence))
        }
        let results = try run(steps.pipeline)
        var receipt = FlushReceipt()
        receipt.blockedCells =
            batch.cells.count - steps.cells.reduce(0) { $0 + results[$1].affectedRows }
        if let step = steps.sessions {
            receipt.blockedSessions = batch.sessions.count - results[step].affectedRows
        }
        return receipt
    }

    func run(_ pipeline: PostgresPipeline) throws(FlushError) -> [PostgresResult] {
        do {
            return try connection.runTransaction(pipeline)
        } catch {
            switch error.retry {
            case _ where error.code == .server(Self.fencedState): throw .fenced
            case .unknownOutcome: throw .unknownOutcome(error)
            case .retriable, .permanent: throw .failed(error)
            }
        }
    }

    /// Raised by `qoe_require_fence`.
    private static let fencedState = SQLState(rawValue: "QF001")

    typealias Step = (statement: PostgresStatement, parameters: PostgresParameters)

    /// The statements of a flush, and which of them write what is counted.
    struct FlushSteps {
        private(set) var pipeline = PostgresPipeline()
        private var count = 0
        private(set) var cells: Range<Int> = 0..<0
        var sessions: Int?

        @discardableResult
        mutating func append(_ step: Step) -> Int {
            pipeline.append(step.statement, step.parameters)
            count += 1
            return count - 1
        }

        /// Adds statements that write all cells, some rows each.
        mutating func append(
            upsertsOf rows: [CellRow], type: PostgresTypeID, _ ownership: PartitionOwnership
        ) {
            let first = count
            for start in stride(from: 0, to: rows.count, by: AggregateStore.cellsPerStatementMax) {
                let part = rows[
                    start..<min(start + AggregateStore.cellsPerStatementMax, rows.count)]
                pipeline.append(AggregateStore.upsertCells) {
                    AggregateStore.parameters(ofCells: part, type: type, ownership)
                }
                count += 1
            }
            cells = first..<count
        }
    }

    // MARK: The fence

    static func fence(
        _ ownership: PartitionOwnership, _ expectedSequence: UInt64,
        _ progress: PartitionProgress, _ anchors: [LogAnchor]?, createdNanoseconds: Int64?
    ) -> Step {
        var parameters = ownership.parameters
        parameters.append(Int64(clamping: expectedSequence))
        parameters.append(Int64(clamping: progress.committedSequence))
        parameters.append(PostgresTimestamp(milliseconds: progress.committedBrokerMilliseconds))
        parameters.append(Int64(clamping: progress.replayFromSequence))
        parameters.append(PostgresTimestamp(milliseconds: progress.completeThroughMilliseconds))
        parameters.append(progress.counters.messages)
        parameters.append(progress.counters.deadLetters)
        parameters.append(progress.counters.events)
        parameters.append(progress.counters.counted)
        parameters.append(progress.counters.duplicates)
        parameters.append(progress.counters.rejected)
        parameters.append(progress.counters.late)
        parameters.append(progress.counters.idConflicts)
        parameters.append(anchors?.json)
        parameters.append(ownership.lease.milliseconds)
        parameters.append(Int64(clamping: progress.countedThroughSequence))
        parameters.append(createdNanoseconds)
        return (fenceStatement, parameters)
    }

    /// A flush proves that its owner lives, so it extends the lease as well.
    private static let fenceStatement = PostgresStatement(
        "flush_fence",
        """
        WITH fenced AS (
            UPDATE partition_progress SET committed_seq = $7, committed_ts = $8,
                replay_from_seq = $9, complete_through = $10, messages_read = $11,
                messages_dead_lettered = $12, events_read = $13, events_counted = $14,
                events_duplicate = $15, events_rejected = $16, events_late = $17,
                id_conflicts = $18, anchors = coalesce($19, anchors), flushed_at = now(),
                lease_expires_at = clock_timestamp() + $20 * interval '1 ms',
                counted_through_seq = $21, stream_created_ns = coalesce($22, stream_created_ns)
            WHERE \(PartitionOwnership.condition) AND committed_seq = $6
            RETURNING 1
        )
        SELECT qoe_require_fence(count(*)) FROM fenced
        """)

    // MARK: Rows

    /// Rows that are encoded and sent together: some megabytes.
    private static let cellsPerStatementMax = 1000

    private static func parameters(
        ofCells cells: ArraySlice<CellRow>, type: PostgresTypeID, _ ownership: PartitionOwnership
    ) -> PostgresParameters {
        var parameters = PostgresParameters()
        cells.withUnsafeBufferPointer { cells in
            // In place: a copy of each row would count a reference for each of its texts.
            parameters.append(records: cells.count, type: type) { index, record in
                CellColumns.write(cells[index], &record)
            }
        }
        parameters.append(ownership.generation)
        return parameters
    }

    private static let upsertCells: PostgresStatement = {
        let columns = CellColumns.all
        let list = columns.joined(separator: ", ")
        let changed = columns.dropFirst(CellColumns.key.count) + ["generation", "updated_at"]
        return PostgresStatement(
            "flush_cells",
            """
            INSERT INTO agg_1m (\(list), generation, updated_at)
            SELECT \(list), $2, now() FROM unnest($1::qoe_cell[])
            ON CONFLICT (client_id, target, window_start_ts) DO UPDATE SET
                \(changed.map { "\($0) = EXCLUDED.\($0)" }.joined(separator: ", "))
            WHERE (agg_1m.generation, agg_1m.last_seq) <= (EXCLUDED.generation, EXCLUDED.last_seq)
            """)
    }()

    private static func upsert(sessions: [SessionRow], _ ownership: PartitionOwnership) -> Step {
        var parameters = PostgresParameters()
        parameters.append(Int32(clamping: ownership.partition))
        parameters.append(ownership.generation)
        parameters.append(arrayOf: sessions) { $0.key.client.text }
        parameters.append(arrayOf: sessions) { PostgresUUID($0.key.session) }
        parameters.append(arrayOf: sessions) { $0.counted.multirange }
        parameters.append(arrayOf: sessions) {
            PostgresTimestamp(
                milliseconds: $0.events == 0 ? nil : $0.firstMeasuredAtMilliseconds)
        }
        parameters.append(arrayOf: sessions) {
            PostgresTimestamp(milliseconds: $0.events == 0 ? nil : $0.lastMeasuredAtMilliseconds)
        }
        parameters.append(arrayOf: sessions) { $0.events }
        parameters.append(arrayOf: sessions) { $0.duplicates }
        parameters.append(arrayOf: sessions) { Int64(clamping: $0.lastSequence) }
        return (upsertSessions, parameters)
    }

    private static let upsertSessions = PostgresStatement(
        "flush_sessions",
        """
        INSERT INTO probe_sessions AS t (partition, generation, client_id, session_id,
            counted_seqs, first_ts, last_ts, events, duplicates, last_seq, updated_at)
        SELECT $1, $2, s.client_id, s.session_id, s.counted::int8multirange, s.first_ts,
            s.last_ts, s.events, s.duplicates, s.last_seq, now()
        FROM unnest($3::text[], $4::uuid[], $5::text[], $6::timestamptz[], $7::timestamptz[],
            $8::bigint[], $9::bigint[], $10::bigint[])
            AS s (client_id, session_id, counted, first_ts, last_ts, events, duplicates, last_seq)
        ON CONFLICT (client_id, session_id) DO UPDATE SET
            partition = EXCLUDED.partition, generation = EXCLUDED.generation,
            counted_seqs = EXCLUDED.counted_seqs, first_ts = EXCLUDED.first_ts,
            last_ts = EXCLUDED.last_ts, events = EXCLUDED.events,
            duplicates = EXCLUDED.duplicates, last_seq = EXCLUDED.last_seq,
            updated_at = EXCLUDED.updated_at
        WHERE (t.generation, t.last_seq) <= (EXCLUDED.generation, EXCLUDED.last_seq)
        """)

    private static func note(
        windows: [Window: UInt64], _ ownership: PartitionOwnership
    ) -> Step {
        let sorted = windows.sorted { $0.key < $1.key }
        var parameters = PostgresParameters()
        parameters.append(Int32(clamping: ownership.partition))
        parameters.append(arrayOf: sorted) {
            PostgresTimestamp(milliseconds: $0.key.startMilliseconds)
        }
        parameters.append(arrayOf: sorted) { Int64(clamping: $0.value) }
        return (noteWindows, parameters)
    }

    private static let noteWindows = PostgresStatement(
        "flush_windows",
        """
        INSERT INTO window_changes (partition, window_start_ts, changed_seq, changed_at)
        SELECT $1, w.window_start_ts, w.seq, now()
        FROM unnest($2::timestamptz[], $3::bigint[]) AS w (window_start_ts, seq)
        ON CONFLICT (partition, window_start_ts) DO UPDATE SET
            changed_seq = EXCLUDED.changed_seq, changed_at = EXCLUDED.changed_at
        """)

    static func clearCrashes(
        _ ownership: PartitionOwnership, through sequence: UInt64
    ) -> Step {
        var parameters = PostgresParameters()
        parameters.append(ownership.stream)
        parameters.append(Int32(clamping: ownership.partition))
        parameters.append(Int64(clamping: sequence))
        return (clearCrashesStatement, parameters)
    }

    private static let clearCrashesStatement = PostgresStatement(
        "flush_crash_ledger",
        "DELETE FROM crash_ledger WHERE stream = $1 AND partition = $2 AND seq <= $3")

    static func insert(
        _ letters: [DeadLetter], _ ownership: PartitionOwnership
    ) -> Step {
        var parameters = PostgresParameters()
        parameters.append(ownership.stream)
        parameters.append(Int32(clamping: ownership.partition))
        parameters.append(arrayOf: letters) { Int64(clamping: $0.sequence) }
        parameters.append(arrayOf: letters) { Int32(clamping: $0.index) }
        parameters.append(arrayOf: letters) { $0.reason.withoutNull }
        parameters.append(arrayOf: letters) { $0.detail.withoutNull }
        parameters.append(arrayOf: letters) { Array($0.payload.prefix(DeadLetter.payloadBytesMax)) }
        return (insertDeadLetters, parameters)
    }

    private static let insertDeadLetters = PostgresStatement(
        "flush_dead_letters",
        """
        INSERT INTO dead_letters
            (stream, partition, seq, idx, reason, detail, payload, recorded_at)
        SELECT $1, $2, d.seq, d.idx, d.reason, d.detail, d.payload, now()
        FROM unnest($3::bigint[], $4::integer[], $5::text[], $6::text[], $7::bytea[])
            AS d (seq, idx, reason, detail, payload)
        ON CONFLICT (stream, partition, seq, idx) DO UPDATE SET reason = EXCLUDED.reason,
            detail = EXCLUDED.detail, payload = EXCLUDED.payload,
            recorded_at = EXCLUDED.recorded_at, forwarded_at = NULL, forwarded_seq = NULL,
            replayed_at = NULL, replayed_seq = NULL
        -- The same letter again changes nothing; another one has the sequence when a stream lost its tail.
        WHERE (dead_letters.reason, dead_letters.detail, dead_letters.payload)
            <> (EXCLUDED.reason, EXCLUDED.detail, EXCLUDED.payload)
        """)
}

extension SequenceRanges {
    /// The text form of an `int8multirange`.
    var multirange: String {
        "{" + ranges.map { "[\($0.lowerBound),\($0.upperBound))" }.joined(separator: ",") + "}"
    }
}

extension String {
    /// PostgreSQL's text has no U+0000, and what is wrong with a message must not stop the rest.
    var withoutNull: String {
        guard utf8.contains(0) else { return self }
        var scalars = UnicodeScalarView()
        for scalar in unicodeScalars { scalars.append(scalar == "\0" ? "\u{FFFD}" : scalar) }
        return String(scalars)
    }
}

internal import Bus
internal import Postgres
internal import Recount

/// Progress and rows as one transaction sees them.
struct VerifySnapshot {
    struct Partition {
        var committedSequence: UInt64
        var counters: RecountCounters
    }

    var partitions: [Int: Partition] = [:]
    /// Whether progress was ever moved to another place of the stream.
    var wasRepositioned = false
    /// When a range of the stream was last found lost, Unix milliseconds.
    var lastLossMilliseconds: Int64?
    /// Whole messages that were given up, by partition.
    var setAside: [Int: Set<UInt64>] = [:]
    var windowsFromMilliseconds: Int64?
    var cells: [CanonicalRow] = []
    var sessions: [CanonicalRow] = []

    /// Reads everything in one transaction, which writes nothing and waits for nobody.
    ///
    /// - Parameters:
    ///   - windowsFrom: No cells before this, Unix milliseconds.
    ///   - minutes: Cells of the last minutes only.
    init(
        _ connection: PostgresConnection, windowsFromMilliseconds windowsFrom: Int64?,
        minutes: Int?
    ) throws(PostgresError) {
        self = try connection.transaction { () throws(PostgresError) in
            try connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return try VerifySnapshot(reading: connection, windowsFrom, minutes)
        }
    }

    private init(
        reading connection: PostgresConnection, _ windowsFrom: Int64?, _ minutes: Int?
    ) throws(PostgresError) {
        try readProgress(connection)
        try readSetAside(connection)
        windowsFromMilliseconds = windowsFrom
        if let loss = lastLossMilliseconds { raise(to: loss + aheadMax) }
        if let minutes {
            guard var row = try connection.query("SELECT date_trunc('minute', now())").first else {
                return
            }
            let now = try row.next(PostgresTimestamp.self).milliseconds
            raise(to: now - Int64(minutes) * 60_000)
        }
        // Older minutes went with their partition when the retention ended.
        if let oldest = try oldestPartition(connection) { raise(to: oldest) }
        let stored = StoredRows(connection)
        cells = try stored.cells(fromMilliseconds: windowsFromMilliseconds)
        sessions = try stored.sessions()
    }

    private mutating func raise(to milliseconds: Int64) {
        windowsFromMilliseconds = max(windowsFromMilliseconds ?? .min, milliseconds)
    }

    private mutating func readProgress(_ connection: PostgresConnection) throws(PostgresError) {
        var parameters = PostgresParameters()
        parameters.append(BusStream.events)
        let result = try connection.query(
            """
            SELECT partition, committed_seq, generation, messages_read, messages_dead_lettered,
                events_read, events_counted, events_duplicate, events_rejected, events_late,
                (SELECT max(detected_at) FROM lost_ranges AS l
                    WHERE l.stream = p.stream AND l.partition = p.partition)
            FROM partition_progress AS p WHERE stream = $1
            """, parameters)
        for var row in result.rows {
            let partition = Int(try row.next(Int32.self))
            let committed = UInt64(clamping: try row.next(Int64.self))
            if try row.next(Int32.self) > 1 { wasRepositioned = true }
            var counters = RecountCounters()
            counters.messages = try row.next()
            counters.deadLetters = try row.next()
            counters.events = try row.next()
            counters.counted = try row.next()
            counters.duplicates = try row.next()
            counters.rejected = try row.next()
            counters.late = try row.next()
            partitions[partition] = Partition(committedSequence: committed, counters: counters)
            if let loss = try row.nextOptional(PostgresTimestamp.self)?.milliseconds {
                lastLossMilliseconds = max(lastLossMilliseconds ?? .min, loss)
            }
        }
    }

    private mutating func readSetAside(_ connection: PostgresConnection) throws(PostgresError) {
        var parameters = PostgresParameters()
        parameters.append(BusStream.events)
        let result = try connection.query(
            "SELECT partition, seq FROM dead_letters WHERE stream = $1 AND idx = -1", parameters)
        for var row in result.rows {
            let partition = Int(try row.next(Int32.self))
            setAside[partition, default: []].insert(UInt64(clamping: try row.next(Int64.self)))
        }
    }

    private func oldestPartition(_ connection: PostgresConnection) throws(PostgresError) -> Int64? {
        guard
            var row = try connection.query(
                """
                SELECT min(to_date(right(relname::text, 8), 'YYYYMMDD')::timestamp)
                    AT TIME ZONE 'UTC'
                FROM pg_inherits JOIN pg_class ON oid = inhrelid
                WHERE inhparent = 'agg_1m'::regclass AND relname ~ '_[0-9]{8}$'
                """
            ).first
        else { return nil }
        return try row.nextOptional(PostgresTimestamp.self)?.milliseconds
    }
}

/// How far ahead of the broker's time the aggregator takes an event, ms.
let aheadMax: Int64 = 10 * 60_000

package import Postgres

/// The table of dead letters, behind one connection.
///
/// Blocking: use it from the connection's owned thread.
package final class DeadLetterStore {
    private let connection: PostgresConnection

    package init(_ connection: PostgresConnection) {
        self.connection = connection
    }

    // MARK: Forwarding

    /// Hands the oldest letters that wait to `forward` and marks those it returns as forwarded, with their
    /// sequences in the stream of dead letters.
    ///
    /// One transaction, which holds the letters against other instances; they skip them. Whatever ends it
    /// early leaves the letters waiting, so `forward` may get one again.
    ///
    /// - Returns: how many were marked, and how many wait now, counted up to `waitingCountMax`.
    package func forward(
        limit: Int, _ forward: ([StoredDeadLetter]) -> [DeadLetterKey: UInt64]
    ) throws(PostgresError) -> (forwarded: Int, waiting: Int) {
        try connection.transaction { () throws(PostgresError) in
            var parameters = PostgresParameters()
            parameters.append(Int64(clamping: limit))
            var letters: [StoredDeadLetter] = []
            for var row in try connection.query(Self.takeWaiting, parameters).rows {
                letters.append(try StoredDeadLetter(&row))
            }
            guard !letters.isEmpty else { return (0, 0) }
            let marked = try mark(Self.markForwarded, forward(letters))
            var count = try connection.query(Self.countWaiting).only()
            return (marked, Int(clamping: try count.next(Int64.self)))
        }
    }

    private static let waitingCountMax = 100_000

    private static let takeWaiting = PostgresStatement(
        "dead_letters_take",
        """
        SELECT \(StoredDeadLetter.columns) FROM dead_letters WHERE forwarded_at IS NULL
        ORDER BY recorded_at LIMIT $1 FOR UPDATE SKIP LOCKED
        """)

    private static let countWaiting = PostgresStatement(
        "dead_letters_waiting",
        """
        SELECT count(*) FROM (
            SELECT FROM dead_letters WHERE forwarded_at IS NULL LIMIT \(waitingCountMax)) AS w
        """)

    private static let markForwarded = markStatement("dead_letters_forwarded", "forwarded")

    /// Sets `<prefix>_at` and `<prefix>_seq`.
    private static func markStatement(_ name: String, _ prefix: String) -> PostgresStatement {
        PostgresStatement(
            name,
            """
            UPDATE dead_letters AS t SET \(prefix)_at = now(), \(prefix)_seq = d.new_seq
            FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::integer[], $5::bigint[])
                AS d (stream, partition, seq, idx, new_seq)
            WHERE t.stream = d.stream AND t.partition = d.partition AND t.seq = d.seq
                AND t.idx = d.idx
            """)
    }

    private func mark(
        _ statement: PostgresStatement, _ sequences: [DeadLetterKey: UInt64]
    ) throws(PostgresError) -> Int {
        guard !sequences.isEmpty else { return 0 }
        let entries = Array(sequences)
        var parameters = PostgresParameters()
        parameters.append(arrayOf: entries) { $0.key.stream }
        parameters.append(arrayOf: entries) { Int32(clamping: $0.key.partition) }
        parameters.append(arrayOf: entries) { Int64(clamping: $0.key.sequence) }
        parameters.append(arrayOf: entries) { Int32(clamping: $0.key.index) }
        parameters.append(arrayOf: entries) { Int64(clamping: $0.value) }
        return try connection.query(statement, parameters).affectedRows
    }

    // MARK: Looking

    /// Which letters to list; nil is any.
    package struct Filter: Sendable {
        package var reason: String?
        package var partition: Int?
        /// Recorded at most this many seconds ago, by the server's clock.
        package var sinceSeconds: Int64?
        package var limit: Int

        package init(
            reason: String? = nil, partition: Int? = nil, sinceSeconds: Int64? = nil, limit: Int
        ) {
            self.reason = reason
            self.partition = partition
            self.sinceSeconds = sinceSeconds
            self.limit = limit
        }
    }

    /// The newest letters that pass `filter`, the newest first.
    package func list(_ filter: Filter) throws(PostgresError) -> [StoredDeadLetter] {
        var parameters = PostgresParameters()
        parameters.append(filter.reason)
        parameters.append(filter.partition.map { Int32(clamping: $0) })
        parameters.append(filter.sinceSeconds)
        parameters.append(Int64(clamping: filter.limit))
        var letters: [StoredDeadLetter] = []
        for var row in try connection.query(Self.listLetters, parameters).rows {
            letters.append(try StoredDeadLetter(&row))
        }
        return letters
    }

    private static let listLetters = PostgresStatement(
        "dead_letters_list",
        """
        SELECT \(StoredDeadLetter.columns) FROM dead_letters
        WHERE ($1::text IS NULL OR reason = $1) AND ($2::integer IS NULL OR partition = $2)
            AND ($3::bigint IS NULL OR recorded_at >= now() - $3 * interval '1 s')
        ORDER BY recorded_at DESC, stream, partition, seq DESC, idx LIMIT $4
        """)

    /// The letter with this key, if there is one.
    package func letter(_ key: DeadLetterKey) throws(PostgresError) -> StoredDeadLetter? {
        var parameters = PostgresParameters()
        parameters.append(key.stream)
        parameters.append(Int32(clamping: key.partition))
        parameters.append(Int64(clamping: key.sequence))
        parameters.append(Int32(clamping: key.index))
        guard var row = try connection.query(Self.readLetter, parameters).first else { return nil }
        return try StoredDeadLetter(&row)
    }

    private static let readLetter = PostgresStatement(
        "dead_letters_read",
        """
        SELECT \(StoredDeadLetter.columns) FROM dead_letters
        WHERE stream = $1 AND partition = $2 AND seq = $3 AND idx = $4
        """)

    // MARK: Replaying

    /// Marks a letter as replayed.
    ///
    /// - Parameter sequence: The one that it has in the stream of events now.
    package func markReplayed(
        _ key: DeadLetterKey, sequence: UInt64
    ) throws(PostgresError) {
        _ = try mark(Self.markReplayed, [key: sequence])
    }

    private static let markReplayed = markStatement("dead_letters_replayed", "replayed")
}

extension AggregateStore {
    /// The dead letters behind the same connection.
    package var deadLetters: DeadLetterStore { DeadLetterStore(connection) }
}

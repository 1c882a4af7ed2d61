package import Postgres

/// Names a dead letter: the primary key of `dead_letters`.
package struct DeadLetterKey: Hashable, Sendable, CustomStringConvertible {
    package let stream: String
    package let partition: Int
    package let sequence: UInt64
    /// The event's position in its message; −1 for the whole message.
    package let index: Int

    package init(stream: String, partition: Int, sequence: UInt64, index: Int) {
        self.stream = stream
        self.partition = partition
        self.sequence = sequence
        self.index = index
    }

    /// `STREAM/PARTITION/SEQUENCE` for a whole message, with `/INDEX` for an event.
    package var description: String {
        "\(stream)/\(partition)/\(sequence)" + (index < 0 ? "" : "/\(index)")
    }

    /// Reads the form of ``description``; the index −1 may be written as well.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3 || parts.count == 4, !parts[0].isEmpty,
            let partition = Int(parts[1]), partition >= 0, let sequence = UInt64(parts[2]),
            let index = parts.count == 4 ? Int(parts[3]) : -1, index >= -1
        else { return nil }
        self.init(
            stream: String(parts[0]), partition: partition, sequence: sequence, index: index)
    }
}

/// A row of `dead_letters`.
package struct StoredDeadLetter: Hashable, Sendable {
    package let key: DeadLetterKey
    package let reason: String
    package let detail: String
    /// The message's first bytes; empty for an event.
    package let payload: [UInt8]
    package let recordedAt: PostgresTimestamp
    package let forwardedAt: PostgresTimestamp?
    /// The sequence in the stream of dead letters.
    package let forwardedSequence: UInt64?
    package let replayedAt: PostgresTimestamp?
    package let replayedSequence: UInt64?

    static let columns = """
        stream, partition, seq, idx, reason, detail, payload, recorded_at, forwarded_at,
        forwarded_seq, replayed_at, replayed_seq
        """

    init(_ row: inout PostgresRow) throws(PostgresError) {
        key = DeadLetterKey(
            stream: try row.next(), partition: Int(try row.next(Int32.self)),
            sequence: UInt64(clamping: try row.next(Int64.self)),
            index: Int(try row.next(Int32.self)))
        reason = try row.next()
        detail = try row.next()
        payload = try row.next()
        recordedAt = try row.next()
        forwardedAt = try row.nextOptional()
        forwardedSequence = try row.nextOptional(Int64.self).map { UInt64(clamping: $0) }
        replayedAt = try row.nextOptional()
        replayedSequence = try row.nextOptional(Int64.self).map { UInt64(clamping: $0) }
    }
}

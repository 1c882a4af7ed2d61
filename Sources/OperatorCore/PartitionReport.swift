internal import Bus
package import NATSClient
package import Postgres

/// Where every partition stands, from the tables and from NATS.
package struct PartitionReport: Sendable {
    package struct Partition: Sendable {
        package var stream: String
        package var partition: Int
        package var owner: String?
        package var state: String
        package var generation: Int
        package var epoch: Int64
        package var committedSequence: UInt64
        package var committedMilliseconds: Int64?
        /// Seconds before now, by the database's clock; nil while unknown.
        package var completeThroughAgeSeconds: Double?
        package var completeThroughMilliseconds: Int64?
        /// Negative once it has ended; nil when nobody owns the partition.
        package var leaseSeconds: Double?
        package var messagesRead: Int64
        package var eventsCounted: Int64
        package var eventsDuplicate: Int64
        package var eventsRejected: Int64
        package var eventsLate: Int64
        package var messagesDeadLettered: Int64
        package var lostRangeCount: Int64
        /// Nil when NATS could not tell; see ``PartitionReport/natsFailure``.
        package var lag: Lag?
    }

    /// How far the tables are behind the stream.
    package struct Lag: Sendable {
        /// The newest sequence of the partition's subject; nil when it has no messages.
        package var lastSequence: UInt64?
        package var messages: UInt64
        /// Between the newest message and the last one counted, by the broker's time; nil when none was
        /// counted yet.
        package var seconds: Double?
    }

    package struct LostRange: Sendable {
        package var stream: String
        package var partition: Int
        package var generation: Int
        package var firstSequence: UInt64
        package var lastSequence: UInt64
        package var detectedMilliseconds: Int64
        package var reason: String
    }

    package var partitions: [Partition] = []
    package var lostRanges: [LostRange] = []
    /// Why no lag is known.
    package var natsFailure: String?

    /// Reads the tables, and asks NATS for the lag. Blocks.
    ///
    /// - Throws: ``OperatorError`` when the database has no schema; what NATS cannot tell is left out.
    package init(database: PostgresConnection, connector: NATSConnector) throws {
        try requireSchema(database)
        try readPartitions(database)
        try readLostRanges(database)
        do {
            try readLag(connector)
        } catch {
            natsFailure = "\(error)"
        }
    }

    private mutating func readPartitions(_ database: PostgresConnection) throws(PostgresError) {
        let result = try database.query(
            """
            SELECT stream, partition, owner_id, state, generation, epoch, committed_seq,
                committed_ts, complete_through,
                extract(epoch FROM now() - complete_through)::double precision,
                CASE WHEN owner_id IS NOT NULL
                    THEN extract(epoch FROM lease_expires_at - now())::double precision END,
                messages_read, events_counted, events_duplicate, events_rejected, events_late,
                messages_dead_lettered,
                (SELECT count(*) FROM lost_ranges AS l
                    WHERE l.stream = p.stream AND l.partition = p.partition)
            FROM partition_progress AS p ORDER BY stream, partition
            """)
        for var row in result.rows {
            partitions.append(
                Partition(
                    stream: try row.next(), partition: Int(try row.next(Int32.self)),
                    owner: try row.nextOptional(), state: try row.next(),
                    generation: Int(try row.next(Int32.self)), epoch: try row.next(),
                    committedSequence: UInt64(clamping: try row.next(Int64.self)),
                    committedMilliseconds: try row.nextOptional(PostgresTimestamp.self)?
                        .milliseconds,
                    completeThroughAgeSeconds: nil,
                    completeThroughMilliseconds: try row.nextOptional(PostgresTimestamp.self)?
                        .milliseconds,
                    leaseSeconds: nil, messagesRead: 0, eventsCounted: 0, eventsDuplicate: 0,
                    eventsRejected: 0, eventsLate: 0, messagesDeadLettered: 0, lostRangeCount: 0))
            let last = partitions.count - 1
            partitions[last].completeThroughAgeSeconds = try row.nextOptional()
            partitions[last].leaseSeconds = try row.nextOptional()
            partitions[last].messagesRead = try row.next()
            partitions[last].eventsCounted = try row.next()
            partitions[last].eventsDuplicate = try row.next()
            partitions[last].eventsRejected = try row.next()
            partitions[last].eventsLate = try row.next()
            partitions[last].messagesDeadLettered = try row.next()
            partitions[last].lostRangeCount = try row.next()
        }
    }

    private mutating func readLostRanges(_ database: PostgresConnection) throws(PostgresError) {
        let result = try database.query(
            """
            SELECT stream, partition, generation, first_seq, last_seq, detected_at, reason
            FROM lost_ranges ORDER BY detected_at, stream, partition, first_seq
            """)
        for var row in result.rows {
            lostRanges.append(
                LostRange(
                    stream: try row.next(), partition: Int(try row.next(Int32.self)),
                    generation: Int(try row.next(Int32.self)),
                    firstSequence: UInt64(clamping: try row.next(Int64.self)),
                    lastSequence: UInt64(clamping: try row.next(Int64.self)),
                    detectedMilliseconds: try row.next(PostgresTimestamp.self).milliseconds,
                    reason: try row.next()))
        }
    }

    // MARK: Lag

    private mutating func readLag(_ connector: NATSConnector) throws {
        let stream = try EventStream(connector)
        for index in partitions.indices {
            switch partitions[index].stream {
            case BusStream.events:
                partitions[index].lag = try lag(
                    of: partitions[index],
                    subject: BusSubject.events(partition: partitions[index].partition),
                    stream.jetStream)
            case BusStream.heartbeats:
                partitions[index].lag = try lag(
                    of: partitions[index], subject: BusSubject.heartbeats, stream.jetStream)
            default: break
            }
        }
    }

    private func lag(
        of partition: Partition, subject: String, _ jetStream: JetStream
    ) throws(NATSError) -> Lag {
        let last: StoredMessage
        do throws(NATSError) {
            last = try jetStream.lastMessage(inStream: partition.stream, subject: subject)
        } catch {
            let isEmpty = JetStreamErrorCode.messageNotFound ~= error || error.code == .notFound
            guard isEmpty else { throw error }
            return Lag(lastSequence: nil, messages: 0, seconds: 0)
        }
        guard last.sequence > partition.committedSequence else {
            return Lag(lastSequence: last.sequence, messages: 0, seconds: 0)
        }
        // A consumer that begins behind what is counted knows how many messages follow.
        var configuration = ConsumerConfiguration(
            name: "qoe-\(NATSInbox.randomName())",
            startSequence: partition.committedSequence + 1, filterSubject: subject)
        configuration.inactiveThreshold = .seconds(5)
        let consumer = try jetStream.createConsumer(configuration, onStream: partition.stream)
        // It ends by itself as well.
        try? jetStream.deleteConsumer(named: consumer.name, onStream: partition.stream)
        let newest = last.timestampNanoseconds / 1_000_000
        return Lag(
            lastSequence: last.sequence, messages: consumer.pendingCount,
            seconds: partition.committedMilliseconds.map { Double(max(0, newest - $0)) / 1000 })
    }
}

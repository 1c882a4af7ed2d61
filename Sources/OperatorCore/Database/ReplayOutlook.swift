internal import Bus
package import NATSClient
package import Postgres

/// Whether the streams still have what a restored database has not counted.
package struct ReplayOutlook: Sendable {
    /// A stream that cannot fill in all that is missing.
    package struct Shortfall: Sendable, Equatable {
        package let stream: String
        /// What is missing, and what that means.
        package let message: String
    }

    /// How many messages follow the oldest place that a partition has counted to, over all streams: at most so
    /// many are read again.
    package private(set) var messagesToReplay: UInt64 = 0
    package private(set) var shortfalls: [Shortfall] = []

    /// Compares the progress in the tables with the streams, as an aggregator will. Blocks.
    ///
    /// - Throws: ``OperatorError`` or ``NATSError`` when NATS cannot be asked.
    package init(database: PostgresConnection, connector: NATSConnector) throws {
        let events = try EventStream(connector)
        // What aggregators had trimmed before the backup is missed by no partition.
        let result = try database.query(
            """
            SELECT p.stream, min(greatest(p.committed_seq + 1, coalesce(t.below_seq, 0))),
                max(p.committed_seq), max(p.stream_created_ns),
                min(greatest(p.replay_from_seq, coalesce(t.below_seq, 0)))
            FROM partition_progress AS p LEFT JOIN stream_trims AS t
                ON t.stream = p.stream AND t.stream_created_ns = p.stream_created_ns
            GROUP BY p.stream ORDER BY p.stream
            """)
        for var row in result.rows {
            let stream = try row.next(String.self)
            let needed = UInt64(clamping: try row.next(Int64.self))
            let counted = UInt64(clamping: try row.next(Int64.self))
            let created = try row.nextOptional(Int64.self)
            let replayFrom = UInt64(clamping: try row.next(Int64.self))
            let found =
                stream == BusStream.events
                ? events.information : try events.jetStream.stream(named: stream)
            let start = max(needed, found.firstSequence)
            if found.lastSequence >= start {
                messagesToReplay &+= found.lastSequence - start &+ 1
            }
            if let message = Self.shortfall(
                found, needed: needed, counted: counted, created: created, replayFrom: replayFrom)
            {
                shortfalls.append(Shortfall(stream: stream, message: message))
            }
        }
    }

    private static func shortfall(
        _ found: StreamInformation, needed: UInt64, counted: UInt64, created: Int64?,
        replayFrom: UInt64
    ) -> String? {
        if let created, created != found.createdNanoseconds || counted > found.lastSequence {
            return "it is not the stream that the tables were made from, or an older copy of it; "
                + "aggregators compare messages they remember, go on after the last one that both "
                + "have, and write what is gone into lost_ranges"
        }
        if found.firstSequence > needed {
            return "it begins at sequence \(found.firstSequence), and the tables need what follows "
                + "\(needed &- 1): what lies between is gone and will be in lost_ranges"
        }
        if found.firstSequence > replayFrom {
            return "its last minutes before the backup are gone: of events without a number that "
                + "were posted twice around then, the repetition may count"
        }
        return nil
    }
}

internal import Postgres
package import Windowing

/// Stream sequences that were needed and cannot be read any more.
package struct LostRange: Hashable, Sendable {
    package let sequences: ClosedRange<UInt64>
    /// A stable, machine-readable name.
    package let reason: String

    package init(sequences: ClosedRange<UInt64>, reason: String) {
        self.sequences = sequences
        self.reason = reason
    }
}

/// A move of a partition's progress to another place of its stream, after the stream was compared
/// with its anchors.
package struct Reposition: Sendable {
    /// The `committed_seq` that the table must still have.
    package var expectedSequence: UInt64
    /// The `committed_seq` to continue from.
    package var committedSequence: UInt64
    package var replayFromSequence: UInt64
    /// Messages up to here that are read again have been counted before; see
    /// ``PartitionProgress/countedThroughSequence``.
    package var countedThroughSequence: UInt64
    /// Whether sequences from here on are not comparable with those before: always so when
    /// `committedSequence` goes back. Rows of the old generation give way to the new one.
    package var startsGeneration: Bool
    package var streamCreatedNanoseconds: Int64?
    package var anchors: [LogAnchor]
    package var lost: [LostRange]

    package init(
        expectedSequence: UInt64, committedSequence: UInt64, replayFromSequence: UInt64,
        countedThroughSequence: UInt64, startsGeneration: Bool, streamCreatedNanoseconds: Int64?,
        anchors: [LogAnchor],
        lost: [LostRange] = []
    ) {
        self.expectedSequence = expectedSequence
        self.committedSequence = committedSequence
        self.replayFromSequence = replayFromSequence
        self.countedThroughSequence = countedThroughSequence
        self.startsGeneration = startsGeneration
        self.streamCreatedNanoseconds = streamCreatedNanoseconds
        self.anchors = anchors
        self.lost = lost
    }
}

extension AggregateStore {
    /// Moves the partition's progress and records what was lost, in one transaction.
    ///
    /// - Returns: the ownership to use from now on; the old one is fenced if a generation started.
    package func reposition(
        _ move: Reposition, by ownership: PartitionOwnership
    ) throws(FlushError) -> PartitionOwnership {
        precondition(
            move.startsGeneration || move.committedSequence >= move.expectedSequence,
            "progress goes back within one generation")
        let next = move.startsGeneration ? ownership.nextGeneration : ownership
        var parameters = ownership.parameters
        parameters.append(Int64(clamping: move.expectedSequence))
        parameters.append(next.generation)
        parameters.append(Int64(clamping: move.committedSequence))
        parameters.append(Int64(clamping: move.replayFromSequence))
        parameters.append(move.streamCreatedNanoseconds)
        parameters.append(move.anchors.json)
        parameters.append(Int64(clamping: move.countedThroughSequence))
        var pipeline = PostgresPipeline()
        pipeline.append(Self.moveProgress, parameters)
        // Its sequences are of messages that are not there any more.
        let (clear, everything) = Self.clearCrashes(ownership, through: .max)
        pipeline.append(clear, everything)
        if move.startsGeneration {
            // What was trimmed beyond this place was trimmed from what the stream is not any more.
            var parameters = PostgresParameters()
            parameters.append(ownership.stream)
            parameters.append(Int64(clamping: move.committedSequence))
            pipeline.append(Self.limitTrim, parameters)
        }
        if !move.lost.isEmpty {
            var parameters = PostgresParameters()
            parameters.append(ownership.stream)
            parameters.append(Int32(clamping: ownership.partition))
            parameters.append(ownership.generation)
            parameters.append(arrayOf: move.lost) { Int64(clamping: $0.sequences.lowerBound) }
            parameters.append(arrayOf: move.lost) { Int64(clamping: $0.sequences.upperBound) }
            parameters.append(arrayOf: move.lost) { $0.reason.withoutNull }
            pipeline.append(Self.insertLost, parameters)
        }
        _ = try run(pipeline)
        return next
    }

    private static let moveProgress = PostgresStatement(
        "move_progress",
        """
        WITH fenced AS (
            UPDATE partition_progress SET generation = $7, committed_seq = $8,
                replay_from_seq = $9, stream_created_ns = $10, anchors = $11,
                counted_through_seq = $12, flushed_at = now()
            WHERE \(PartitionOwnership.condition) AND committed_seq = $6
            RETURNING 1
        )
        SELECT qoe_require_fence(count(*)) FROM fenced
        """)

    private static let limitTrim = PostgresStatement(
        "limit_trim",
        """
        UPDATE stream_trims SET below_seq = $2 + 1 WHERE stream = $1 AND below_seq > $2 + 1
        """)

    private static let insertLost = PostgresStatement(
        "insert_lost",
        """
        INSERT INTO lost_ranges
            (stream, partition, generation, first_seq, last_seq, detected_at, reason)
        SELECT $1, $2, $3, l.first_seq, l.last_seq, now(), l.reason
        FROM unnest($4::bigint[], $5::bigint[], $6::text[]) AS l (first_seq, last_seq, reason)
        ON CONFLICT DO NOTHING
        """)
}

package import Postgres
package import Telemetry
package import Windowing

/// The right to write the effects of a partition: what every write names as its fence.
package struct PartitionOwnership: Hashable, Sendable {
    package let stream: String
    package let partition: Int
    /// Sequences are compared within one generation of the stream only.
    package let generation: Int32
    /// Random, fresh at every acquisition. (The epoch alone is issued twice when a failover loses
    /// its increment.)
    package let nonce: UniqueID
    package let epoch: Int64
    /// How long the partition is kept without a write or a renewal.
    package let lease: Duration
}

/// A partition just acquired, as its row stood at that moment.
package struct OwnedPartition: Sendable {
    package let ownership: PartitionOwnership
    package let standing: PartitionStanding
}

/// Where a partition stands, and all that is needed to tell whether its stream goes on from there.
package struct PartitionStanding: Sendable {
    package var progress: PartitionProgress
    /// When the stream was created, Unix nanoseconds; nil before that was first recorded.
    package var streamCreatedNanoseconds: Int64?
    /// Newest first.
    package var anchors: [LogAnchor]
    /// Messages below this sequence were removed by an aggregator, when nobody needed them any more; 0 when none
    /// were.
    package var trimmedBelow: UInt64
    /// The newest window with rows of the partition; nil when there is none.
    package var newestWindow: Window?
    /// How often the partition was left by a process that neither released it nor committed anything since the
    /// last commit.
    package var crashCount: Int
    /// A message whose counting began and did not end.
    package var begunSequence: UInt64?
    /// Messages of those to be read again that were set aside because they crash their reader, at most
    /// ``AggregateStore/crashingSequenceCountMax``.
    package var crashingSequences: Set<UInt64>
    /// Ranges of the stream that were recorded as lost.
    package var lostRangeCount: Int

    package init(
        progress: PartitionProgress = PartitionProgress(), streamCreatedNanoseconds: Int64? = nil,
        anchors: [LogAnchor] = [], trimmedBelow: UInt64 = 0, newestWindow: Window? = nil,
        crashCount: Int = 0, begunSequence: UInt64? = nil, crashingSequences: Set<UInt64> = [],
        lostRangeCount: Int = 0
    ) {
        self.progress = progress
        self.streamCreatedNanoseconds = streamCreatedNanoseconds
        self.anchors = anchors
        self.trimmedBelow = trimmedBelow
        self.newestWindow = newestWindow
        self.crashCount = crashCount
        self.begunSequence = begunSequence
        self.crashingSequences = crashingSequences
        self.lostRangeCount = lostRangeCount
    }
}

/// The answer to ``AggregateStore/acquirePartition(stream:partition:owner:nonce:lease:)``.
package enum Acquisition: Sendable {
    case acquired(OwnedPartition)
    /// Another owner's lease is alive, by the server's clock.
    case heldByOther(owner: String, until: PostgresTimestamp)
}

/// Why a flush did not succeed.
package enum FlushError: Error, Equatable, Sendable {
    /// Another owner, generation or progress is in the table; nothing was written. The state in
    /// memory is not the table's any more: drop it.
    case fenced
    /// The answer to COMMIT was lost: ask ``AggregateStore/outcome(of:by:)`` on a new connection.
    case unknownOutcome(PostgresError)
    /// Nothing was written.
    case failed(PostgresError)
}

/// What became of a flush whose answer was lost.
package enum FlushOutcome: Equatable, Sendable {
    case committed
    /// The same batch may be flushed again.
    case notCommitted
    /// The partition has another owner or other progress.
    case fenced
}

/// What a flush wrote.
package struct FlushReceipt: Equatable, Sendable {
    /// Cells that the table has from a newer message: always 0 unless something is wrong.
    package var blockedCells = 0
    /// Sessions that the table has from a newer message: always 0 unless something is wrong.
    package var blockedSessions = 0
    /// Probes that the table has from a newer heartbeat.
    package var blockedProbes = 0

    package init() {}
}

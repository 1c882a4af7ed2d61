/// The bounds of a spool.
package struct SpoolLimits: Sendable, Equatable {
    /// A spool has at least so many segments: what is dropped at once when it is full is at most this part of it.
    package static let segmentsMin = 16
    /// The largest segment, which is read as a whole at the start, bytes.
    package static let segmentBytesMaxDefault = 1 << 20
    /// The smallest spool: each of its segments holds some of the largest events.
    package static let bytesMin = 1 << 20

    /// The most bytes of all segments together.
    package var bytesMax: Int
    /// The most bytes of one segment; only its first record may exceed it.
    package var segmentBytesMax: Int
    /// Events measured longer ago are dropped, as ingest would refuse them.
    package var ageMax: Duration
    /// The most events, and the bytes of their JSON, that wait in memory while the disk cannot be written.
    package var memoryCountMax = 2000
    package var memoryBytesMax = 1 << 20

    package init(
        bytesMax: Int = 64 << 20, segmentBytesMax: Int? = nil,
        ageMax: Duration = .seconds(30 * 86_400)
    ) {
        self.bytesMax = bytesMax
        self.segmentBytesMax =
            segmentBytesMax ?? min(Self.segmentBytesMaxDefault, bytesMax / Self.segmentsMin)
        self.ageMax = ageMax
    }
}

/// In which order events that have waited for long are posted.
package enum DrainOrder: String, Sendable, CaseIterable {
    case oldestFirst = "oldest-first"
    case newestFirst = "newest-first"
}

/// Which events a batch should hold.
package struct SpoolRequest: Sendable {
    package var countMax: Int
    package var bytesMax: Int
    /// The most events from before ``freshFrom``.
    package var backlogMax: Int
    /// Events from this place on go first, oldest first.
    package var freshFrom: UInt64
    package var order: DrainOrder

    package init(
        countMax: Int, bytesMax: Int, backlogMax: Int = .max, freshFrom: UInt64 = 0,
        order: DrainOrder = .oldestFirst
    ) {
        self.countMax = countMax
        self.bytesMax = bytesMax
        self.backlogMax = backlogMax
        self.freshFrom = freshFrom
        self.order = order
    }
}

/// What a spool holds and what it lost.
package struct SpoolStatus: Sendable, Equatable {
    /// Events that wait or are under way.
    package var depth = 0
    /// Those of them that are only in memory, as the disk cannot be written.
    package var inMemory = 0
    /// Bytes of the segments on disk, and of the events in memory.
    package var bytes = 0
    /// When the oldest that waits was measured.
    package var oldest: EventTime?
    /// Events that will not be delivered, since the start, by why.
    package var lost: [DropLedger.Reason: UInt64] = [:]
    /// Whether new events are written to disk.
    package var isDiskUsable = true
    /// Times at which the disk could not be written.
    package var diskFailures: UInt64 = 0

    package init() {}

    /// Events that were dropped here, since the start: those that ingest refused are not among them.
    package var dropped: UInt64 {
        lost.reduce(0) { $1.key == .refused ? $0 : $0 &+ $1.value }
    }
}

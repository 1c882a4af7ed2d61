package import Telemetry

/// The primary key of a row of `agg_1m`.
package struct CellKey: Hashable, Comparable, Sendable {
    package let client: Name
    package let target: Name
    package let window: Window

    package init(client: Name, target: Name, window: Window) {
        self.client = client
        self.target = target
        self.window = window
    }

    /// By window, then client, then target: rows are written in this order, so that two writers cannot
    /// wait for each other.
    package static func < (a: CellKey, b: CellKey) -> Bool {
        if a.window != b.window { return a.window < b.window }
        if a.client != b.client { return a.client < b.client }
        return a.target < b.target
    }
}

/// A row of `agg_1m`: the complete state of a cell.
package struct CellRow: Hashable, Sendable {
    package let key: CellKey
    package let cell: Cell
    /// The stream sequence of the last message that touched the cell.
    package let lastSequence: UInt64

    package init(key: CellKey, cell: Cell, lastSequence: UInt64) {
        self.key = key
        self.cell = cell
        self.lastSequence = lastSequence
    }
}

/// The primary key of a row of `probe_sessions`.
package struct SessionKey: Hashable, Comparable, Sendable {
    package let client: Name
    package let session: UniqueID

    package init(client: Name, session: UniqueID) {
        self.client = client
        self.session = session
    }

    package static func < (a: SessionKey, b: SessionKey) -> Bool {
        a.client != b.client ? a.client < b.client : a.session < b.session
    }
}

/// What is known about one run of a probe: which of its events have been counted.
package struct SessionRow: Hashable, Sendable {
    package let key: SessionKey
    package var counted: SequenceRanges
    /// The earliest and latest `ts_ms` counted, Unix milliseconds.
    package var firstMeasuredAtMilliseconds: Int64
    package var lastMeasuredAtMilliseconds: Int64
    /// Events counted.
    package var events: Int64
    /// Events that came again.
    package var duplicates: Int64
    /// The stream sequence of the last message that touched the session.
    package var lastSequence: UInt64

    package init(
        key: SessionKey, counted: SequenceRanges = SequenceRanges(),
        firstMeasuredAtMilliseconds: Int64 = .max, lastMeasuredAtMilliseconds: Int64 = .min,
        events: Int64 = 0, duplicates: Int64 = 0, lastSequence: UInt64 = 0
    ) {
        self.key = key
        self.counted = counted
        self.firstMeasuredAtMilliseconds = firstMeasuredAtMilliseconds
        self.lastMeasuredAtMilliseconds = lastMeasuredAtMilliseconds
        self.events = events
        self.duplicates = duplicates
        self.lastSequence = lastSequence
    }
}

extension SessionRow {
    /// What is known about an event.
    enum Verdict: Hashable, Sendable {
        case new
        case duplicate
        /// Its number cannot be remembered: the session has too many holes for an honest probe's.
        case tooScattered
    }

    /// Counts an event of the session, unless its number has been counted before.
    mutating func count(_ number: UInt64, measuredAtMilliseconds measured: Int64) -> Verdict {
        switch counted.insert(number) {
        case .known:
            duplicates &+= 1
            return .duplicate
        case .full:
            return .tooScattered
        case .inserted:
            events &+= 1
            firstMeasuredAtMilliseconds = min(firstMeasuredAtMilliseconds, measured)
            lastMeasuredAtMilliseconds = max(lastMeasuredAtMilliseconds, measured)
            return .new
        }
    }
}

/// Something that was read and could not be counted.
package struct DeadLetter: Hashable, Sendable {
    /// The stream sequence of its message.
    package let sequence: UInt64
    /// The event's position in the block; −1 for the whole message.
    package let index: Int
    /// A stable, machine-readable name.
    package let reason: String
    /// For people: what was found.
    package let detail: String
    /// The message's first bytes, at most ``payloadBytesMax``; empty for a single event of a block.
    package let payload: [UInt8]

    package static let payloadBytesMax = 4096
    /// The reason of a message that killed whoever counted it, and is never to be touched again.
    package static let crashesItsReader = "crashes_its_reader"

    package init(
        sequence: UInt64, index: Int, reason: String, detail: String, payload: [UInt8] = []
    ) {
        self.sequence = sequence
        self.index = index
        self.reason = reason
        self.detail = detail
        self.payload = payload
    }
}

/// What a partition has read, as absolute numbers since the stream began.
///
/// At every commit `events == counted + duplicates + rejected`.
package struct PartitionCounters: Hashable, Sendable {
    package var messages: Int64 = 0
    /// Messages that could not be decoded; each is one dead letter.
    package var deadLetters: Int64 = 0
    package var events: Int64 = 0
    package var counted: Int64 = 0
    package var duplicates: Int64 = 0
    /// Events with a time that no window is kept for; each is one dead letter.
    package var rejected: Int64 = 0
    /// Duplicates by `event_id` whose content differs from the first: an identifier used twice.
    package var idConflicts: Int64 = 0
    package var late: Int64 = 0

    package init() {}

    /// Whether every event read is accounted for.
    package var isConserved: Bool { events == counted &+ duplicates &+ rejected }
}

/// Where a partition stands in its stream: a row of `partition_progress`.
package struct PartitionProgress: Hashable, Sendable {
    /// The last stream sequence whose effects are in the tables; 0 before the first.
    package var committedSequence: UInt64 = 0
    /// The broker's time of that message, Unix milliseconds; nil before the first.
    package var committedBrokerMilliseconds: Int64?
    /// Where reading must begin after a restart, so that identifiers of recent events are known again.
    package var replayFromSequence: UInt64 = 1
    /// Every window that ended before this time, Unix milliseconds, is complete as far as the log
    /// tells; nil while unknown.
    package var completeThroughMilliseconds: Int64?
    /// Messages up to this sequence that are read again, because the log was cut and continued, have been counted
    /// before; 0 when there are none.
    package var countedThroughSequence: UInt64 = 0
    package var counters = PartitionCounters()

    package init() {}
}

/// All that one transaction writes for a partition.
package struct FlushBatch: Sendable {
    /// ``PartitionProgress/committedSequence`` that the tables must still have.
    package let expectedSequence: UInt64
    /// Progress after the transaction, as absolute values.
    package let progress: PartitionProgress
    /// Changed cells, ascending by key.
    package let cells: [CellRow]
    /// Changed sessions, ascending by key.
    package let sessions: [SessionRow]
    package let deadLetters: [DeadLetter]
    /// The messages to recognise the log by, newest first; nil leaves those in the tables.
    package var anchors: [LogAnchor]?
    /// When the log was made, Unix nanoseconds; nil leaves what the tables have.
    package var logCreatedNanoseconds: Int64?
    /// Whether what the crash ledger holds of the partition is settled by this transaction.
    package var clearsCrashLedger = false

    package init(
        expectedSequence: UInt64, progress: PartitionProgress, cells: [CellRow],
        sessions: [SessionRow], deadLetters: [DeadLetter]
    ) {
        self.expectedSequence = expectedSequence
        self.progress = progress
        self.cells = cells
        self.sessions = sessions
        self.deadLetters = deadLetters
    }

    /// The windows whose cells changed, each with the newest sequence that touched it.
    package var changedWindows: [Window: UInt64] {
        var windows: [Window: UInt64] = [:]
        for row in cells {
            windows[row.key.window] = max(windows[row.key.window] ?? 0, row.lastSequence)
        }
        return windows
    }
}

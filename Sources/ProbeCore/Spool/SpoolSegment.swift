internal import Telemetry

/// What is known in memory of one segment: where its events are and which of them still wait.
///
/// 9 bytes for each event: a full spool of the default size has a hundred thousand.
struct SpoolSegment {
    enum Standing: UInt8 {
        case waiting
        /// Part of a batch that may be under way.
        case taken
        case gone
    }

    struct Entry {
        let start: UInt32
        let byteCount: UInt32

        var bytes: Range<Int> { Int(start)..<Int(start) + Int(byteCount) }
    }

    /// Events in a row whose numbers count on.
    private struct Run {
        let session: UniqueID
        let firstNumber: UInt64
        let firstIndex: Int
    }

    /// Its place among the segments, and its files' name.
    let id: UInt64
    /// The number of chance in its head; nil when that is damaged, and nothing can be noted of it.
    let nonce: UInt64?
    /// The place of its first event among all of the spool since the start.
    let firstPosition: UInt64
    /// The file's length.
    private(set) var byteCount: Int
    private(set) var entries: [Entry] = []
    private(set) var standings: [Standing] = []
    private(set) var waitingCount = 0
    private(set) var takenCount = 0
    /// The latest time of the events of each boot: those of an earlier one can be told from now only if ingest's
    /// time is known.
    private var newest: [BootID?: EventTime] = [:]
    /// Entries in its list of removals; nil until the list is made by this process.
    var removalCount: Int?
    private var runs: [Run] = []

    init(id: UInt64, nonce: UInt64?, firstPosition: UInt64, byteCount: Int) {
        self.id = id
        self.nonce = nonce
        self.firstPosition = firstPosition
        self.byteCount = byteCount
    }

    var isEmpty: Bool { waitingCount + takenCount == 0 }

    /// The place behind its last event among all of the spool since the start.
    var endPosition: UInt64 { firstPosition &+ UInt64(entries.count) }

    /// Adds the record that begins at `start`, which lies behind all others.
    mutating func add(_ record: SpoolRecord, at start: Int, isGone: Bool = false) {
        let index = entries.count
        let continuesRun =
            runs.last.map { run in
                run.session == record.session
                    && run.firstNumber &+ UInt64(index - run.firstIndex) == record.number
            } ?? false
        if !continuesRun {
            runs.append(
                Run(session: record.session, firstNumber: record.number, firstIndex: index))
        }
        entries.append(
            Entry(start: UInt32(clamping: start), byteCount: UInt32(clamping: record.byteCount)))
        standings.append(isGone ? .gone : .waiting)
        if !isGone { waitingCount += 1 }
        byteCount = max(byteCount, start + record.byteCount)
        if let other = newest[record.time.boot], !Self.isLater(record.time, other) { return }
        newest[record.time.boot] = record.time
    }

    /// Of two times of one boot.
    private static func isLater(_ a: EventTime, _ b: EventTime) -> Bool {
        a.boot == nil ? a.milliseconds > b.milliseconds : a.boottime > b.boottime
    }

    /// Whether all its events are known to be older.
    func isOlder(than limit: Duration, at reading: ClockReading) -> Bool {
        newest.values.allSatisfy { reading.isOlder($0, than: limit) }
    }

    /// Notes that the file was cut off behind its last record.
    mutating func cut(to byteCount: Int) {
        self.byteCount = byteCount
    }

    /// The session and number of an event.
    func name(of index: Int) -> (session: UniqueID, number: UInt64) {
        // The last run that begins at or before the event.
        var low = 0
        var high = runs.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if runs[middle].firstIndex <= index { low = middle } else { high = middle }
        }
        let run = runs[low]
        return (run.session, run.firstNumber &+ UInt64(index - run.firstIndex))
    }

    mutating func set(_ standing: Standing, _ index: Int) {
        switch standings[index] {
        case .waiting: waitingCount -= 1
        case .taken: takenCount -= 1
        case .gone: return
        }
        standings[index] = standing
        switch standing {
        case .waiting: waitingCount += 1
        case .taken: takenCount += 1
        case .gone: break
        }
    }

    /// The events that still wait or are under way.
    var remaining: [Int] { standings.indices.filter { standings[$0] != .gone } }

    /// The first event that still waits or is under way.
    var oldest: Entry? {
        standings.firstIndex { $0 != .gone }.map { entries[$0] }
    }
}

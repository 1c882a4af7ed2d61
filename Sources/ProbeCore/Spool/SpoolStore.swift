internal import Logging
internal import Telemetry

/// The segments of a spool and what waits in memory beside them; for one thread at a time.
///
/// Nothing here fails: what the disk refuses stays in memory, within bounds, and ``problems`` tells it.
struct SpoolStore {
    /// Something to log.
    struct Problem {
        let level: Logger.Level
        let message: String
        var metadata: Logger.Metadata = [:]
    }

    struct InMemory {
        let token: UInt64
        let event: SpooledEvent
        var isTaken = false
    }

    /// Nil for a spool in memory alone.
    let folder: String?
    let limits: SpoolLimits
    /// By rising identifier; the last one is written to while ``active`` is open.
    var segments: [SpoolSegment] = []
    var active: SpoolFile?
    var lastID: UInt64 = 0
    var nextPosition: UInt64 = 0
    var ledger = DropLedger()
    /// What went into the ledger and was not logged.
    var untoldLosses = DropLedger()
    var isLedgerWritten = true
    var lost: [DropLedger.Reason: UInt64] = [:]
    var problems: [Problem] = []
    /// What the run before may have posted without an answer; taken already.
    var underWay: [Pick] = []

    var memory: [InMemory] = []
    private var memoryBytes = 0
    private var lastToken: UInt64 = 0
    /// Why the disk is not used; nil while it is.
    private(set) var diskFault: String?
    private(set) var diskFailures: UInt64 = 0
    /// Whether events were written that a power cut may take.
    private var isSynchronised = true
    /// Of ended segments that a power cut may take; at most ``endedMax``.
    private var endedDescriptors: [Int32] = []
    private static let endedMax = 16
    private var isFolderSynchronised = true

    init(folder: String?, limits: SpoolLimits) {
        self.folder = folder
        self.limits = limits
    }

    // MARK: Adding

    /// Adds an event: on disk, or in memory while that cannot be written.
    mutating func append(_ event: SpooledEvent) {
        if folder != nil && diskFault == nil {
            do throws(FileProblem) { return try write(event) } catch { diskFailed(error) }
        }
        keepInMemory(event)
    }

    private mutating func write(_ event: SpooledEvent) throws(FileProblem) {
        let bytes = SpoolRecord.bytes(of: event)
        if let last = segments.last, active != nil, !last.entries.isEmpty,
            last.byteCount + bytes.count > limits.segmentBytesMax
        {
            seal()
        }
        let needed = bytes.count + (active == nil ? SegmentScan.headByteCount : 0)
        while diskBytes + needed > limits.bytesMax {
            guard dropOldestSegment() else {
                throw FileProblem(folder ?? "", "is full of events that are being posted")
            }
        }
        let file: SpoolFile
        if let active { file = active } else { file = try begin() }
        guard let last = segments.indices.last,
            let record = SpoolRecord(in: bytes.span.bytes, at: 0)
        else { preconditionFailure("a record was just made, and its segment is there") }
        let start = segments[last].byteCount
        try file.write(bytes, at: start)
        segments[last].add(record, at: start)
        nextPosition &+= 1
        isSynchronised = false
    }

    /// Begins a new segment.
    private mutating func begin() throws(FileProblem) -> SpoolFile {
        let id = lastID &+ 1
        let file = try SpoolFile(eventsPath(id), emptied: true)
        var generator = SystemRandomNumberGenerator()
        let nonce = UInt64.random(in: .min ... .max, using: &generator)
        try file.write(SegmentScan.head(nonce: nonce), at: 0)
        lastID = id
        segments.append(
            SpoolSegment(
                id: id, nonce: nonce, firstPosition: nextPosition,
                byteCount: SegmentScan.headByteCount))
        active = file
        isFolderSynchronised = false
        return file
    }

    /// Ends the segment that is written to; without anything that waits it goes at once.
    private mutating func seal() {
        if !isSynchronised, segments.last?.isEmpty == false,
            endedDescriptors.count < Self.endedMax, let descriptor = active?.duplicate
        {
            endedDescriptors.append(descriptor)
        }
        isSynchronised = true
        active = nil
        removeEmptySegments()
    }

    private mutating func keepInMemory(_ event: SpooledEvent) {
        while memory.count >= limits.memoryCountMax
            || memoryBytes + event.json.count > limits.memoryBytesMax
        {
            guard let oldest = memory.firstIndex(where: { !$0.isTaken }) else {
                lose(event.number, of: event.session, because: .memory)
                return
            }
            let dropped = removeFromMemory(at: oldest)
            lose(dropped.number, of: dropped.session, because: .memory)
        }
        lastToken &+= 1
        memory.append(InMemory(token: lastToken, event: event))
        memoryBytes += event.json.count
    }

    @discardableResult
    mutating func removeFromMemory(at index: Int) -> SpooledEvent {
        let event = memory.remove(at: index).event
        memoryBytes -= event.json.count
        return event
    }

    /// Writes what waits in memory to the disk, if that works again.
    mutating func retryDisk() {
        guard folder != nil, diskFault != nil || memory.contains(where: { !$0.isTaken }) else {
            return
        }
        while let index = memory.firstIndex(where: { !$0.isTaken }) {
            do throws(FileProblem) { try write(memory[index].event) } catch {
                return diskFailed(error)
            }
            removeFromMemory(at: index)
        }
        guard diskFault != nil else { return }
        if active == nil {
            // Nothing had to be written: this tells as well whether it can be.
            do throws(FileProblem) { _ = try begin() } catch { return diskFailed(error) }
        }
        problems.append(Problem(level: .notice, message: "events are written to disk again"))
        diskFault = nil
    }

    private mutating func diskFailed(_ problem: FileProblem) {
        diskFailures &+= 1
        // A segment whose end is not known is not written to again; when it is empty it makes room.
        active = nil
        removeEmptySegments()
        if diskFault != problem.description {
            problems.append(
                Problem(
                    level: .error, message: "events cannot be written to disk; they wait in memory",
                    metadata: ["reason": "\(problem)", "at_most": "\(limits.memoryCountMax)"]))
        }
        diskFault = problem.description
    }

    // MARK: Durability

    /// Descriptors to synchronise, which the caller closes, of what a power cut may take.
    mutating func takeUnsynchronised() -> [Int32] {
        var descriptors = endedDescriptors
        endedDescriptors = []
        // What was delivered meanwhile need not be kept.
        if !isSynchronised, segments.last?.isEmpty == false, let descriptor = active?.duplicate {
            descriptors.append(descriptor)
            isSynchronised = true
        }
        return descriptors
    }

    /// Whether the folder has names that a power cut may take; they count as synchronised from here on.
    mutating func takeUnsynchronisedFolder() -> String? {
        defer { isFolderSynchronised = true }
        return isFolderSynchronised ? nil : folder
    }

    /// The end of the spool's use: nothing that is delivered stays behind, and what is only in memory is lost.
    mutating func close() {
        seal()
        for kept in memory { note(kept.event.number, of: kept.event.session, because: .memory) }
        if !memory.isEmpty || !isLedgerWritten { writeLedger() }
        memory = []
        memoryBytes = 0
    }

    // MARK: Looking

    var status: SpoolStatus {
        var status = SpoolStatus()
        status.inMemory = memory.count
        status.depth = segments.reduce(memory.count) { $0 + $1.waitingCount + $1.takenCount }
        status.bytes = diskBytes + memoryBytes
        status.lost = lost
        status.isDiskUsable = folder != nil && diskFault == nil
        status.diskFailures = diskFailures
        status.oldest = oldestOnDisk ?? memory.first?.event.time
        return status
    }

    private var oldestOnDisk: EventTime? {
        guard let segment = segments.first(where: { !$0.isEmpty }), let oldest = segment.oldest
        else { return nil }
        let start = Int(oldest.start) + SpoolRecord.timeOffset
        let end = start + SpoolRecord.timeByteCount
        let bytes = try? SpoolFile.bytes(of: eventsPath(segment.id), [start..<end]).first
        guard let bytes, bytes.count == SpoolRecord.timeByteCount else { return nil }
        return SpoolRecord.time(in: bytes.span.bytes, at: 0)
    }

    var diskBytes: Int { segments.reduce(0) { $0 + $1.byteCount } }

    func isActive(_ segment: Int) -> Bool {
        active != nil && segment == segments.count - 1
    }

    func segmentIndex(of id: UInt64) -> Int? {
        var low = 0
        var high = segments.count
        while low < high {
            let middle = (low + high) / 2
            if segments[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low < segments.count && segments[low].id == id ? low : nil
    }

    func eventsPath(_ id: UInt64) -> String { path(id, Self.eventsSuffix) }
    func removalsPath(_ id: UInt64) -> String { path(id, Self.removalsSuffix) }
    var ledgerPath: String { "\(folder ?? "")/dropped" }
    var postingPath: String { "\(folder ?? "")/posting" }

    static let eventsSuffix = ".events"
    static let removalsSuffix = ".removed"

    private func path(_ id: UInt64, _ suffix: String) -> String {
        let digits = String(id, radix: 16)
        let zeros = String(repeating: "0", count: 16 - digits.utf8.count)
        return "\(folder ?? "")/\(zeros)\(digits)\(suffix)"
    }
}

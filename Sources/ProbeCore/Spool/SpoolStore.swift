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

    private(set) var memory: [InMemory] = []
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
    private mutating func removeFromMemory(at index: Int) -> SpooledEvent {
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

    // MARK: Taking and finishing

    /// An event that was chosen for a batch: where it is, and itself when that is memory.
    struct Pick {
        let place: SpoolPlace
        let event: SpooledEvent?
        /// The segment's file, and the record's bytes in it.
        var path = ""
        var bytes = 0..<0
        var isBacklog = false
    }

    /// Chooses events and keeps them from being dropped or chosen again.
    mutating func take(_ request: SpoolRequest) -> [Pick] {
        var picks: [Pick] = []
        var bytes = 0
        func fits(_ byteCount: Int) -> Bool {
            bytes += byteCount + 1
            return picks.isEmpty
                || picks.count < request.countMax && bytes <= request.bytesMax
        }
        for index in memory.indices where !memory[index].isTaken {
            let event = memory[index].event
            guard fits(event.json.count) else { return picks }
            memory[index].isTaken = true
            picks.append(
                Pick(place: .memory(token: memory[index].token), event: event))
        }
        func pick(_ segment: Int, _ index: Int, isBacklog: Bool) -> Bool {
            let entry = segments[segment].entries[index]
            guard fits(Int(entry.byteCount) - SpoolRecord.fixedByteCount) else { return false }
            segments[segment].set(.taken, index)
            picks.append(self.pick(index, of: segments[segment], isBacklog: isBacklog))
            return true
        }
        for segment in segments.indices where segments[segment].endPosition > request.freshFrom {
            guard segments[segment].waitingCount > 0 else { continue }
            for index in freshIndices(of: segment, from: request.freshFrom)
            where segments[segment].standings[index] == .waiting {
                guard pick(segment, index, isBacklog: false) else { return picks }
            }
        }
        var left = request.backlogMax
        func pickBacklog(_ order: some Sequence<Int>, _ indices: (Int) -> some Sequence<Int>) {
            for segment in order where segments[segment].waitingCount > 0 {
                for index in indices(segment)
                where segments[segment].standings[index] == .waiting {
                    guard left > 0, pick(segment, index, isBacklog: true) else { return }
                    left -= 1
                }
            }
        }
        let old = segments.indices.prefix { segments[$0].firstPosition < request.freshFrom }
        switch request.order {
        case .oldestFirst:
            pickBacklog(old) { 0..<freshIndices(of: $0, from: request.freshFrom).lowerBound }
        case .newestFirst:
            pickBacklog(old.reversed()) {
                (0..<freshIndices(of: $0, from: request.freshFrom).lowerBound).reversed()
            }
        }
        return picks
    }

    func pick(_ index: Int, of segment: SpoolSegment, isBacklog: Bool) -> Pick {
        Pick(
            place: .segment(id: segment.id, index: index), event: nil,
            path: eventsPath(segment.id), bytes: segment.entries[index].bytes,
            isBacklog: isBacklog)
    }

    /// Notes durably against a kill which events are about to be posted.
    func noteUnderWay(_ events: [SpooledEvent]) {
        guard folder != nil else { return }
        let text = Array(PostingNote(events).text.utf8)
        // Without the note, they may be dropped after a kill although a server has them.
        try? SpoolFile.overwrite(postingPath, with: text)
    }

    private func freshIndices(of segment: Int, from position: UInt64) -> Range<Int> {
        let count = segments[segment].entries.count
        let first = segments[segment].firstPosition
        let begin = position > first ? Int(clamping: position - first) : 0
        return min(begin, count)..<count
    }

    /// Gives taken events back, to be chosen again.
    mutating func putBack(_ places: some Sequence<SpoolPlace>) {
        for place in places {
            switch place {
            case .memory(let token):
                if let index = memory.firstIndex(where: { $0.token == token }) {
                    memory[index].isTaken = false
                }
            case .segment(let id, let index):
                if let segment = segmentIndex(of: id) { segments[segment].set(.waiting, index) }
            }
        }
    }

    /// Removes taken events: they are delivered, or noted in the ledger.
    mutating func remove(_ places: some Sequence<SpoolPlace>) {
        var bySegment: [UInt64: [Int]] = [:]
        var tokens: Set<UInt64> = []
        for place in places {
            switch place {
            case .memory(let token): tokens.insert(token)
            case .segment(let id, let index): bySegment[id, default: []].append(index)
            }
        }
        if !tokens.isEmpty {
            for index in memory.indices.reversed() where tokens.contains(memory[index].token) {
                removeFromMemory(at: index)
            }
        }
        for (id, indices) in bySegment.sorted(by: { $0.key < $1.key }) {
            guard let segment = segmentIndex(of: id) else { continue }
            for index in indices { segments[segment].set(.gone, index) }
            // The file goes as a whole otherwise.
            let isGoing = segments[segment].isEmpty && !isActive(segment)
            if !isGoing { noteRemovals(indices.sorted(), in: segment) }
        }
        removeEmptySegments()
    }

    /// Notes taken events as lost and removes them.
    mutating func lose(_ places: [SpoolPlace], because reason: DropLedger.Reason) {
        guard !places.isEmpty else { return }
        for place in places {
            switch place {
            case .memory(let token):
                guard let event = memory.first(where: { $0.token == token })?.event else {
                    continue
                }
                note(event.number, of: event.session, because: reason)
            case .segment(let id, let index):
                guard let segment = segmentIndex(of: id) else { continue }
                let (session, number) = segments[segment].name(of: index)
                note(number, of: session, because: reason)
            }
        }
        // First noted, then removed: after a crash between the two they are not posted.
        writeLedger()
        remove(places)
    }

    private mutating func noteRemovals(_ indices: [Int], in segment: Int) {
        guard let nonce = segments[segment].nonce else { return }
        var stretches: [Range<Int>] = []
        for index in indices {
            let bytes = segments[segment].entries[index].bytes
            if let last = stretches.last, last.upperBound == bytes.lowerBound {
                stretches[stretches.count - 1] = last.lowerBound..<bytes.upperBound
            } else {
                stretches.append(bytes)
            }
        }
        let entries = stretches.flatMap { RemovalList.entry($0, nonce: nonce) }
        let count = segments[segment].removalCount
        do throws(FileProblem) {
            let list = try SpoolFile(
                removalsPath(segments[segment].id), emptied: count == nil)
            if count == nil { try list.write(RemovalList.head(nonce: nonce), at: 0) }
            let end = RemovalList.headByteCount + (count ?? 0) * RemovalList.entryByteCount
            try list.write(entries, at: end)
            segments[segment].removalCount = (count ?? 0) + stretches.count
        } catch {
            // Delivered events are posted again after a restart, and recognised.
            problems.append(
                Problem(
                    level: .debug, message: "it cannot be noted what was delivered",
                    metadata: ["reason": "\(error)"]))
        }
    }

    // MARK: Dropping

    /// Drops the oldest segment of which nothing is being posted; false when there is none.
    private mutating func dropOldestSegment() -> Bool {
        guard let segment = segments.firstIndex(where: { $0.takenCount == 0 }) else {
            return false
        }
        drop(segment, because: .full)
        return true
    }

    /// Drops the segments all of whose events were measured before a moment.
    mutating func dropSegments(measuredBefore milliseconds: Int64) {
        while let segment = segments.firstIndex(where: {
            !$0.isEmpty && $0.takenCount == 0 && $0.newestMeasuredAtMilliseconds < milliseconds
        }) {
            drop(segment, because: .age)
        }
    }

    private mutating func drop(_ segment: Int, because reason: DropLedger.Reason) {
        for index in segments[segment].remaining {
            let (session, number) = segments[segment].name(of: index)
            note(number, of: session, because: reason)
        }
        let isNoted = writeLedger()
        if isActive(segment) { active = nil }
        removeFiles(of: segments[segment].id)
        segments.remove(at: segment)
        // On a full disk there may be room for the note now.
        if !isNoted { writeLedger() }
    }

    /// Notes an event that is not in the spool as lost.
    mutating func lose(_ number: UInt64, of session: UniqueID, because reason: DropLedger.Reason) {
        note(number, of: session, because: reason)
        isLedgerWritten = false
    }

    private mutating func note(
        _ number: UInt64, of session: UniqueID, because reason: DropLedger.Reason
    ) {
        ledger.add(number, of: session, because: reason)
        untoldLosses.add(number, of: session, because: reason)
        lost[reason, default: 0] &+= 1
    }

    /// Writes the ledger durably; false when that cannot be done now.
    @discardableResult
    mutating func writeLedger() -> Bool {
        isLedgerWritten = false
        guard let folder else { return false }
        do throws(FileProblem) {
            try SmallFile.replace(ledgerPath, with: ledger.text)
        } catch {
            return false
        }
        SpoolFile.synchroniseFolder(folder)
        isLedgerWritten = true
        return true
    }

    private mutating func removeEmptySegments() {
        for segment in segments.indices.reversed()
        where segments[segment].isEmpty && !isActive(segment) {
            removeFiles(of: segments[segment].id)
            segments.remove(at: segment)
        }
    }

    mutating func removeFiles(of id: UInt64) {
        do throws(FileProblem) {
            // In this order: a list without its segment says nothing.
            try SpoolFile.remove(eventsPath(id))
            try SpoolFile.remove(removalsPath(id))
        } catch {
            problems.append(
                Problem(
                    level: .warning, message: "a segment cannot be removed",
                    metadata: ["reason": "\(error)"]))
        }
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
        status.oldestMeasuredAtMilliseconds =
            oldestOnDisk ?? memory.first?.event.measuredAtMilliseconds
        return status
    }

    private var oldestOnDisk: Int64? {
        guard let segment = segments.first(where: { !$0.isEmpty }), let oldest = segment.oldest
        else { return nil }
        let start = Int(oldest.start) + SpoolRecord.timeOffset
        let bytes = try? SpoolFile.bytes(of: eventsPath(segment.id), [start..<start + 8]).first
        guard let bytes, bytes.count == 8 else { return nil }
        return bytes.span.bytes.littleEndian(at: 0, as: Int64.self)
    }

    private var diskBytes: Int { segments.reduce(0) { $0 + $1.byteCount } }

    func isActive(_ segment: Int) -> Bool {
        active != nil && segment == segments.count - 1
    }

    private func segmentIndex(of id: UInt64) -> Int? {
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

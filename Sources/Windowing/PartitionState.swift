package import Blocks
internal import Sketches
internal import Telemetry

/// What one aggregator knows about one partition: a write-back cache of rows, and what has changed in it.
///
/// Pure: no clock, no I/O, no randomness. The caller reads the log in order and, for each block, calls
/// ``resolve(_:at:)``, loads what ``pendingLoads`` asks for, calls ``install(cells:sessions:)`` and then
/// ``apply(_:_:at:)``; from time to time it writes what ``makeFlush(caughtUpAtMilliseconds:)`` returns in
/// one transaction and confirms it with ``confirm(_:)``. When a transaction fails, or its outcome is unknown, the
/// state is dropped and made anew from the rows.
package struct PartitionState: Sendable {
    /// Bounds of the memory that one partition may take.
    package struct Limits: Sendable {
        /// Cells in memory; reaching it asks for a flush and an eviction.
        package var cellCountMax: Int
        /// Changed cells and sessions; reaching it asks for a flush.
        package var dirtyRowCountMax: Int
        /// Dead letters that wait for a flush.
        package var deadLetterCountMax: Int
        /// Identifiers remembered for events without a sequence; beyond, the oldest are forgotten early.
        package var recentIDCountMax: Int
        /// Clean cells stay until their window ended this long ago by the broker's time, ms.
        package var idleMilliseconds: Int64

        package init(
            cellCountMax: Int = 25_000, dirtyRowCountMax: Int = 20_000,
            deadLetterCountMax: Int = 1000, recentIDCountMax: Int = 250_000,
            idleMilliseconds: Int64 = 5 * 60 * 1000
        ) {
            self.recentIDCountMax = recentIDCountMax
            self.cellCountMax = cellCountMax
            self.dirtyRowCountMax = dirtyRowCountMax
            self.deadLetterCountMax = deadLetterCountMax
            self.idleMilliseconds = idleMilliseconds
        }
    }

    /// How far behind the broker's time a partition still counts as possibly incomplete, ms: events
    /// are measured, gathered and posted before they reach the log.
    package static let completenessGraceMilliseconds: Int64 = 10_000

    /// The position of a message in the log.
    package struct Position: Hashable, Sendable {
        package let sequence: UInt64
        /// When the broker stored it, Unix milliseconds.
        package let brokerMilliseconds: Int64

        package init(sequence: UInt64, brokerMilliseconds: Int64) {
            self.sequence = sequence
            self.brokerMilliseconds = brokerMilliseconds
        }
    }

    /// Where the events of one block belong; made by ``resolve(_:at:)`` for ``apply(_:_:at:)``.
    package struct Resolution: Sendable {
        /// For each event its cell, or `noCell` when no window is kept for it.
        fileprivate var cells: [Int32] = []
        fileprivate var sessions: [Int32?] = []
        fileprivate var contexts: [UInt32] = []
        fileprivate static let noCell: Int32 = -1
    }

    package let partition: Int
    package private(set) var progress: PartitionProgress
    private let limits: Limits

    private var names = NameTable()
    private var contexts = ContextTable()
    private var cells = RowCache<CellID, LiveCell>()
    private var sessions = RowCache<SessionID, SessionRow>()
    private var recentIDs: RecentIDs
    private var deadLetters: [DeadLetter] = []
    /// The broker's time, which never goes back, at the message applied last.
    private var brokerMilliseconds: Int64
    /// The same at the message resolved last.
    private var resolvedMilliseconds: Int64
    /// The same at the message remembered last, as far as the messages read again tell.
    private var rememberedMilliseconds = Int64.min
    private var expectedSequence: UInt64
    /// Whether a flush was made and not yet confirmed; nothing may change until then.
    private var isFlushing = false
    /// Whether a message was applied, so that every identifier before it has been remembered.
    private var hasApplied = false
    /// The broker's time at the last sweep of idle rows.
    private var evictedAt = Window(minute: 0)
    /// The first window from which on every row there is in the tables is in memory: a cell that is unknown
    /// here is new, and need not be asked for.
    private var authoritativeFrom: Window

    /// The state of a partition whose rows are the result of the log up to `progress.committedSequence`.
    ///
    /// - Parameter newestWindow: The newest window that the partition has rows of in the tables; nil when it has
    ///   none.
    package init(
        partition: Int, progress: PartitionProgress, newestWindow: Window?,
        limits: Limits = Limits()
    ) {
        self.partition = partition
        self.progress = progress
        self.limits = limits
        recentIDs = RecentIDs(countMax: limits.recentIDCountMax)
        brokerMilliseconds = progress.committedBrokerMilliseconds ?? .min
        resolvedMilliseconds = brokerMilliseconds
        expectedSequence = progress.committedSequence
        authoritativeFrom = newestWindow?.next ?? Window(minute: .min)
    }

    // MARK: Reading

    /// Remembers the identifiers of a message whose effects are already in the tables.
    ///
    /// Called for messages from `progress.replayFromSequence` up to the committed one, before anything is applied.
    package mutating func remember(_ block: BlockReader, at position: Position) {
        rememberedMilliseconds = max(rememberedMilliseconds, position.brokerMilliseconds)
        for index in 0..<(unsafe block.eventCount) {
            let record = unsafe block.record(index)
            let origin = unsafe block.origin(record.origin)
            guard origin.session == nil,
                Self.isKept(
                    record.measuredAtMilliseconds,
                    brokerMilliseconds: rememberedMilliseconds)
            else { continue }
            _ = unsafe recentIDs.insert(
                key(of: record, block.string(origin.client)),
                content: contentHash(of: record, block),
                sequence: position.sequence, brokerMilliseconds: rememberedMilliseconds)
        }
    }

    /// Finds the cells and sessions of a block's events; unknown ones are put on ``pendingLoads``.
    package mutating func resolve(_ block: BlockReader, at position: Position) -> Resolution {
        resolvedMilliseconds = max(resolvedMilliseconds, position.brokerMilliseconds)
        let now = resolvedMilliseconds
        var resolution = Resolution()
        let numbers = (0..<(unsafe block.stringTableCount)).map {
            unsafe names.number(of: block.string(UInt32($0)))
        }
        func number(_ index: UInt32?) -> UInt32? { index.map { numbers[Int($0)] } }
        let originCount = unsafe block.originCount
        var clients: [UInt32] = []
        clients.reserveCapacity(originCount)
        resolution.contexts.reserveCapacity(originCount)
        resolution.sessions.reserveCapacity(originCount)
        for index in 0..<originCount {
            let origin = unsafe block.origin(index)
            let client = numbers[Int(origin.client)]
            clients.append(client)
            resolution.contexts.append(
                contexts.number(
                    sourceIP: number(origin.sourceIP), networkType: number(origin.networkType),
                    isp: number(origin.isp), region: number(origin.region),
                    resolver: number(origin.resolver), asn: origin.asn, names: names))
            resolution.sessions.append(
                origin.session.map { session in
                    sessions.slot(
                        of: SessionID(client: client, session: session),
                        new: SessionRow(key: SessionKey(client: names[client], session: session)),
                        mustLoad: true)
                })
        }
        resolution.cells.reserveCapacity(unsafe block.eventCount)
        for index in 0..<(unsafe block.eventCount) {
            let record = unsafe block.record(index)
            guard Self.isKept(record.measuredAtMilliseconds, brokerMilliseconds: now) else {
                resolution.cells.append(Resolution.noCell)
                continue
            }
            let id = CellID(
                client: clients[record.origin], target: numbers[Int(record.target)],
                window: Window(containing: record.measuredAtMilliseconds))
            resolution.cells.append(
                cells.slot(of: id, new: LiveCell(), mustLoad: id.window < authoritativeFrom))
        }
        return resolution
    }

    /// Whether an event of this time has a window in the tables, judged by the broker's time.
    ///
    /// `ingest` has checked the same against its own clock; here a margin of ten minutes ahead and a
    /// day behind keeps what it let through, and any NATS client's nonsense out.
    package static func isKept(_ milliseconds: Int64, brokerMilliseconds: Int64) -> Bool {
        let ahead = 2 * EventLimits.aheadMillisecondsMax
        let behind = EventLimits.retentionMillisecondsDefault &+ 24 * 3600 * 1000
        let (age, overflow) = brokerMilliseconds.subtractingReportingOverflow(milliseconds)
        return !overflow && age <= behind && age >= -ahead
    }

    /// Cells and sessions that must be read from the tables before the next ``apply(_:_:at:)``.
    package var pendingLoads: (cells: [CellKey], sessions: [SessionKey]) {
        (
            cells.unloadedKeys.map { key(of: $0) },
            sessions.unloadedKeys.map {
                SessionKey(client: names[$0.client], session: $0.session)
            }
        )
    }

    /// Takes over the rows found for ``pendingLoads``; what was asked for and is not among them is new.
    package mutating func install(cells rows: [CellRow], sessions sessionRows: [SessionRow]) {
        for row in rows {
            let id = CellID(
                client: names.number(of: row.key.client), target: names.number(of: row.key.target),
                window: row.key.window)
            let context = contexts.number(of: row.cell.context, names: &names)
            cells.install(
                LiveCell(row.cell, context: context), for: id, lastSequence: row.lastSequence)
        }
        for row in sessionRows {
            let id = SessionID(
                client: names.number(of: row.key.client), session: row.key.session)
            sessions.install(row, for: id, lastSequence: row.lastSequence)
        }
        cells.finishLoading()
        sessions.finishLoading()
    }

    private func key(of id: CellID) -> CellKey {
        CellKey(client: names[id.client], target: names[id.target], window: id.window)
    }

    /// Counts a block's events. Everything it needs has been loaded.
    package mutating func apply(
        _ block: BlockReader, _ resolution: Resolution, at position: Position
    ) {
        advance(to: position)
        var metrics = InlineArray<10, Metric>(repeating: .dns)
        for metric in Metric.allCases { metrics[Int(metric.rawValue)] = metric }
        let contexts = contexts
        for index in 0..<(unsafe block.eventCount) {
            let record = unsafe block.record(index)
            let slot = resolution.cells[index]
            if slot == Resolution.noCell {
                reject(
                    index: index, reason: "timestamp_out_of_range",
                    detail: "event \(record.eventID): ts_ms \(record.measuredAtMilliseconds), "
                        + "broker time \(brokerMilliseconds) ms", at: position)
                continue
            }
            progress.counters.events &+= 1
            switch unsafe recognise(record, block, resolution, at: position) {
            case .new: break
            case .duplicate:
                progress.counters.duplicates &+= 1
                continue
            case .tooScattered:
                progress.counters.events &-= 1
                reject(
                    index: index, reason: "session_too_scattered",
                    detail: "event \(record.eventID): number \(record.sequenceNumber) would be the "
                        + "\(SequenceRanges.rangeCountMax + 1)th range of its session", at: position
                )
                continue
            }
            let window = cells.key(at: slot).window
            let isLate =
                record.receivedAtMilliseconds
                > window.endMilliseconds &+ EventLimits.lateAfterMilliseconds
            cells.update(at: slot, sequence: position.sequence) { cell in
                cell.count(errorStage: record.errorStage, isLate: isLate)
                cell.update(
                    context: resolution.contexts[record.origin],
                    measuredAtMilliseconds: record.measuredAtMilliseconds, among: contexts)
                var next = record.firstValue
                var rest = record.mask
                while rest != 0 {
                    unsafe cell.insert(block.value(next), of: metrics[rest.trailingZeroBitCount])
                    next &+= 1
                    rest &= rest &- 1
                }
            }
            progress.counters.counted &+= 1
            if isLate { progress.counters.late &+= 1 }
        }
    }

    /// Whether an event is counted for the first time.
    private mutating func recognise(
        _ record: BlockRecord, _ block: BlockReader, _ resolution: Resolution, at position: Position
    ) -> SessionRow.Verdict {
        if let slot = resolution.sessions[record.origin] {
            return sessions.update(at: slot, sequence: position.sequence) { session in
                session.count(
                    record.sequenceNumber, measuredAtMilliseconds: record.measuredAtMilliseconds)
            }
        }
        let origin = unsafe block.origin(record.origin)
        let verdict = unsafe recentIDs.insert(
            key(of: record, block.string(origin.client)),
            content: contentHash(of: record, block),
            sequence: position.sequence, brokerMilliseconds: brokerMilliseconds)
        if verdict == .conflict { progress.counters.idConflicts &+= 1 }
        // What was counted before the log was cut is read again after the last message that could be
        // recognised; sessions know their numbers, but an identifier may be older than our memory.
        let isCounted = position.sequence <= progress.countedThroughSequence
        return verdict == .new && !isCounted ? .new : .duplicate
    }

    private func key(of record: BlockRecord, _ client: UnsafeRawBufferPointer) -> RecentIDs.Key {
        unsafe RecentIDs.Key(
            client: XXHash64.hash(client, seed: 0),
            secondClientHash: XXHash64.hash(client, seed: 1), event: record.eventID)
    }

    /// A hash of everything but the identifier and the time of receipt, which differs on a retry.
    private func contentHash(of record: BlockRecord, _ block: BlockReader) -> UInt64 {
        var hash = unsafe XXHash64.hash(
            block.string(record.target), seed: UInt64(bitPattern: record.measuredAtMilliseconds))
        hash = (hash ^ UInt64(record.mask)) &* 0x9E37_79B1_85EB_CA87
        hash = (hash ^ UInt64(record.errorStage?.rawValue ?? 0)) &* 0x9E37_79B1_85EB_CA87
        for offset in 0..<record.mask.nonzeroBitCount {
            let value = unsafe block.value(record.firstValue + offset).millionths
            hash = (hash ^ value) &* 0x9E37_79B1_85EB_CA87
            hash ^= hash >> 32
        }
        return hash
    }

    /// Records an event of the message applied last that cannot be counted.
    package mutating func reject(
        index: Int, reason: String, detail: String, at position: Position
    ) {
        progress.counters.events &+= 1
        progress.counters.rejected &+= 1
        deadLetters.append(
            DeadLetter(
                sequence: position.sequence, index: index, reason: reason, detail: detail))
    }

    /// Records a message that cannot be decoded, and moves on.
    package mutating func setAside(
        reason: String, detail: String, payload: UnsafeRawBufferPointer, at position: Position
    ) {
        advance(to: position)
        progress.counters.deadLetters &+= 1
        let prefix = unsafe payload.prefix(DeadLetter.payloadBytesMax)
        deadLetters.append(
            DeadLetter(
                sequence: position.sequence, index: -1, reason: reason, detail: detail,
                payload: unsafe Array(prefix)))
    }

    private mutating func advance(to position: Position) {
        precondition(!isFlushing, "a flush is confirmed before more is applied")
        if position.brokerMilliseconds > brokerMilliseconds,
            progress.countedThroughSequence >= position.sequence
        {
            // Newer than all that was counted: the log was cut again, below the messages that were to be read
            // a second time.
            progress.countedThroughSequence = position.sequence &- 1
        }
        hasApplied = true
        brokerMilliseconds = max(brokerMilliseconds, position.brokerMilliseconds)
        progress.committedSequence = position.sequence
        progress.committedBrokerMilliseconds = brokerMilliseconds
        progress.counters.messages &+= 1
        recentIDs.expire(at: brokerMilliseconds)
    }

    // MARK: Writing

    /// Changed cells and sessions.
    package var dirtyRowCount: Int { cells.dirtyCount + sessions.dirtyCount }

    /// Identifiers forgotten before the horizon since the state was made: a repetition counts again.
    package var idsForgottenEarly: Int64 { recentIDs.forgottenEarly }

    /// Cells in memory.
    package var cellCount: Int { cells.count }

    /// Sessions in memory.
    package var sessionCount: Int { sessions.count }

    /// Identifiers remembered for events without a sequence.
    package var recentIDCount: Int { recentIDs.count }

    /// Whether reading must pause until a flush has made room.
    package var mustFlush: Bool {
        dirtyRowCount >= limits.dirtyRowCountMax || cells.count >= limits.cellCountMax
            || sessions.count >= limits.cellCountMax
            || deadLetters.count >= limits.deadLetterCountMax
    }

    /// All that has changed since the last confirmed flush, or nil when there is nothing to write.
    ///
    /// - Parameter caughtUpAtMilliseconds: The clock, when the partition has been read to its end; nil while
    ///   messages wait. Completeness then follows the broker's time alone.
    package mutating func makeFlush(caughtUpAtMilliseconds: Int64?) -> FlushBatch? {
        var next = progress
        // Until the first message is applied, identifiers are perhaps still being read again.
        if hasApplied {
            next.replayFromSequence = recentIDs.oldestSequence ?? progress.committedSequence &+ 1
        }
        let horizon = max(caughtUpAtMilliseconds ?? .min, brokerMilliseconds)
        if horizon > .min {
            let complete = horizon &- Self.completenessGraceMilliseconds
            next.completeThroughMilliseconds = max(
                complete, progress.completeThroughMilliseconds ?? .min)
        }
        guard
            next.committedSequence > expectedSequence
                || completesWindow(progress.completeThroughMilliseconds, next)
        else { return nil }
        progress = next
        isFlushing = true
        names.rankAll()
        return FlushBatch(
            expectedSequence: expectedSequence, progress: next,
            cells: cells.dirtyRows(orderedBy: { $0.order(names) }) { id, cell, sequence in
                CellRow(
                    key: key(of: id), cell: cell.materialized(with: contexts),
                    lastSequence: sequence)
            },
            sessions: sessions.dirtyRows(
                orderedBy: {
                    SessionOrder(clientRank: names.rank(of: $0.client), session: $0.session)
                },
                { _, session, sequence in
                    var row = session
                    row.lastSequence = sequence
                    return row
                }),
            deadLetters: deadLetters)
    }

    /// Whether completeness has moved across the end of a window, which is worth a transaction by itself.
    private func completesWindow(_ before: Int64?, _ next: PartitionProgress) -> Bool {
        guard let after = next.completeThroughMilliseconds else { return false }
        guard let before else { return true }
        return Window(containing: before) < Window(containing: after)
    }

    /// The transaction of `batch` is committed: its rows are clean.
    package mutating func confirm(_ batch: FlushBatch) {
        expectedSequence = batch.progress.committedSequence
        isFlushing = false
        cells.markClean()
        sessions.markClean()
        deadLetters.removeAll(keepingCapacity: true)
        evict()
    }

    /// Forgets clean rows that are unlikely to be needed, and all of them when the bound stays reached.
    private mutating func evict() {
        if cells.count >= limits.cellCountMax { forgetOlderWindows() }
        // Names outlive their rows; when most of the table is such names, it is made anew.
        let nameCount = names.count + contexts.count
        let isFull = max(cells.count, sessions.count) >= limits.cellCountMax
        if isFull || nameCount > 4 * (cells.count + sessions.count) + Self.spareNameCount {
            cells.forEachKey { authoritativeFrom = max(authoritativeFrom, $0.window.next) }
            cells.removeAllClean()
            sessions.removeAllClean()
            names = NameTable()
            contexts = ContextTable()
            return
        }
        let now = Window(containing: brokerMilliseconds)
        guard now > evictedAt else { return }
        evictedAt = now
        let limit = brokerMilliseconds &- limits.idleMilliseconds
        cells.removeClean(leaving: LiveCell()) { id, _ in
            guard id.window.endMilliseconds < limit else { return false }
            authoritativeFrom = max(authoritativeFrom, id.window.next)
            return true
        }
        let nobody = SessionRow(key: SessionKey(client: "", session: .zero))
        sessions.removeClean(leaving: nobody) { _, session in
            session.lastMeasuredAtMilliseconds < limit
        }
    }

    /// Forgets the clean cells of all windows but the newest, whose events are still coming; that one too
    /// when it alone would soon reach the bound again.
    private mutating func forgetOlderWindows() {
        var newest = Window(minute: .min)
        cells.forEachKey { newest = max(newest, $0.window) }
        cells.removeClean(leaving: LiveCell()) { id, _ in
            guard id.window < newest else { return false }
            authoritativeFrom = max(authoritativeFrom, id.window.next)
            return true
        }
        guard cells.count > limits.cellCountMax / 2 else { return }
        authoritativeFrom = max(authoritativeFrom, newest.next)
        cells.removeAllClean()
    }

    /// Names that may be in memory without a row.
    private static let spareNameCount = 10_000
}

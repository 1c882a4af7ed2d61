import Blocks
import Sketches
import Telemetry
import TestKit
import Testing
import Windowing

/// Tables in memory: what a store would hold after each commit.
private struct Tables {
    var cells: [CellKey: CellRow] = [:]
    var sessions: [SessionKey: SessionRow] = [:]
    var progress = PartitionProgress()
    var deadLetters: [DeadLetter] = []

    mutating func commit(_ batch: FlushBatch) {
        #expect(batch.expectedSequence == progress.committedSequence)
        #expect(batch.progress.counters.isConserved)
        progress = batch.progress
        for row in batch.cells { cells[row.key] = row }
        for row in batch.sessions { sessions[row.key] = row }
        deadLetters += batch.deadLetters
    }
}

/// A log of blocks, read by a partition's state against ``Tables``.
private struct Pipeline {
    var log: [(block: [UInt8], position: PartitionState.Position)] = []
    var tables = Tables()
    var state = PartitionState(
        partition: 0, progress: PartitionProgress(), newestWindow: nil)
    var limits = PartitionState.Limits()

    mutating func append(_ events: [(Event, received: Int64)], brokerMilliseconds: Int64) {
        var builder = BlockBuilder(
            partition: 0, producer: UniqueID(high: 1, low: 1), byteCountMax: 1 << 20)
        for (event, received) in events {
            let isTaken = builder.append(event, receivedAtMilliseconds: received)
            #expect(isTaken)
        }
        let sequence = UInt64(log.count + 1)
        log.append(
            (
                builder.seal(blockNumber: sequence),
                PartitionState.Position(
                    sequence: sequence, brokerMilliseconds: brokerMilliseconds)
            ))
    }

    /// Applies the next message that the state has not seen; false at the end of the log.
    mutating func step() -> Bool {
        let next = Int(state.progress.committedSequence)
        guard next < log.count else { return false }
        let (block, position) = log[next]
        block.withUnsafeBytes { bytes in
            guard let reader = try? BlockReader(validating: bytes) else {
                state.setAside(
                    reason: "not_a_block", detail: "", payload: bytes, at: position)
                return
            }
            let resolution = state.resolve(reader, at: position)
            let wanted = state.pendingLoads
            state.install(
                cells: wanted.cells.compactMap { tables.cells[$0] },
                sessions: wanted.sessions.compactMap { tables.sessions[$0] })
            state.apply(reader, resolution, at: position)
        }
        return true
    }

    mutating func flush() {
        guard let batch = state.makeFlush(caughtUpAtMilliseconds: nil) else { return }
        tables.commit(batch)
        state.confirm(batch)
    }

    /// Drops the state and makes it anew from the tables, as after a crash.
    mutating func restart() {
        state = PartitionState(
            partition: 0, progress: tables.progress,
            newestWindow: tables.cells.keys.max()?.window, limits: limits)
        var next = Int(tables.progress.replayFromSequence)
        while next <= Int(tables.progress.committedSequence) {
            let (block, position) = log[next - 1]
            block.withUnsafeBytes { bytes in
                if let reader = try? BlockReader(validating: bytes) {
                    state.remember(reader, at: position)
                }
            }
            next += 1
        }
    }

    mutating func drain() {
        while step() {}
        flush()
    }
}

/// The tables by another path: every distinct event once, one cell at a time.
private func oracleCells(_ events: [(Event, received: Int64)]) -> [CellKey: Cell] {
    var cells: [CellKey: Cell] = [:]
    for (event, received) in events {
        let window = Window(containing: event.measuredAtMilliseconds)
        let key = CellKey(client: event.clientID, target: event.target, window: window)
        let isLate = received > window.endMilliseconds + EventLimits.lateAfterMilliseconds
        cells[key, default: Cell()].count(errorStage: event.errorStage, isLate: isLate)
        cells[key]?.update(
            context: event.context, measuredAtMilliseconds: event.measuredAtMilliseconds)
        for metric in Metric.allCases {
            if let value = event.metrics[metric] { cells[key]?.insert(value, of: metric) }
        }
    }
    return cells
}

private let start: Int64 = 1_703_347_200_000

/// Honest traffic with everything that happens on the way: retries at once and much later, late and
/// out-of-order events, clients that number and clients that do not.
private func traffic(
    _ random: inout SeededGenerator, count: Int
) -> (arrivals: [(Event, received: Int64)], distinct: [(Event, received: Int64)]) {
    var arrivals: [(Event, received: Int64)] = []
    var distinct: [(Event, received: Int64)] = []
    var nextNumber: [UInt64] = [1, 1, 1, 1]
    var clock = start
    for _ in 0..<count {
        clock += Int64(random.next() % 4000)
        if !distinct.isEmpty, random.chance(20) {
            // A retry; one without a number comes within the horizon of its first arrival.
            let (event, received) = distinct[Int(random.next() % UInt64(distinct.count))]
            if event.sequence != nil || clock - received < RecentIDs.horizonMilliseconds - 60_000 {
                arrivals.append((event, clock))
                continue
            }
        }
        let probe = Int(random.next() % 4)
        let age = random.chance(10) ? Int64(random.next() % 7_200_000) : Int64(random.next() % 5000)
        var event = Event(
            id: .random(using: &random), clientID: Name("probe-\(probe)"),
            target: random.chance(50) ? "https://a.example" : "https://b.example",
            measuredAtMilliseconds: clock - age, context: random.context(),
            metrics: random.metrics(),
            errorStage: random.chance(15) ? ErrorStage.allCases.randomElement(using: &random) : nil)
        if probe > 0 {
            event.sequence = SessionSequence(
                session: UniqueID(high: 9, low: UInt64(probe)), number: nextNumber[probe])
            nextNumber[probe] += 1
        }
        arrivals.append((event, clock))
        distinct.append((event, clock))
    }
    return (arrivals, distinct)
}

@Test(arguments: 1...60 as ClosedRange<UInt64>)
func `crashes, evictions and retries leave every event counted once`(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let (arrivals, distinct) = traffic(&random, count: 400)
    var pipeline = Pipeline()
    if random.chance(50) {
        pipeline.limits = PartitionState.Limits(
            cellCountMax: 8, dirtyRowCountMax: 6, idleMilliseconds: 1000)
        pipeline.restart()
    }
    var rest = arrivals[...]
    while !rest.isEmpty {
        let chunk = rest.prefix(Int(random.next() % 9) + 1)
        rest = rest.dropFirst(chunk.count)
        pipeline.append(Array(chunk), brokerMilliseconds: chunk.last?.received ?? start)
    }
    while pipeline.step() {
        if pipeline.state.mustFlush || random.chance(25) { pipeline.flush() }
        if random.chance(10) { pipeline.restart() }
    }
    pipeline.flush()

    let cells = pipeline.tables.cells.mapValues(\.cell)
    #expect(cells == oracleCells(distinct), "seed \(seed)")
    let counters = pipeline.tables.progress.counters
    #expect(counters.counted == Int64(distinct.count), "seed \(seed)")
    #expect(counters.duplicates == Int64(arrivals.count - distinct.count), "seed \(seed)")
    #expect(counters.idConflicts == 0)
    for probe in 1...3 {
        let key = SessionKey(
            client: Name("probe-\(probe)"), session: UniqueID(high: 9, low: UInt64(probe)))
        let sent = UInt64(distinct.filter { $0.0.sequence?.session == key.session }.count)
        #expect(pipeline.tables.sessions[key]?.counted.ranges == [1..<(sent + 1)], "seed \(seed)")
    }
}

@Test func `the same events in another order give the same rows`() {
    var random = SeededGenerator(seed: 77)
    let (_, distinct) = traffic(&random, count: 300)
    var rows: [[CellKey: Cell]] = []
    for _ in 0..<3 {
        var pipeline = Pipeline()
        pipeline.append(
            distinct.shuffled(using: &random), brokerMilliseconds: distinct.last?.received ?? start)
        pipeline.drain()
        rows.append(pipeline.tables.cells.mapValues(\.cell))
    }
    #expect(rows[0] == rows[1])
    #expect(rows[0] == rows[2])
}

private func plainEvent(
    id: UInt64 = 1, client: Name = "legacy", at milliseconds: Int64 = start
) -> Event {
    var event = Event(
        id: UniqueID(high: 0, low: id), clientID: client, target: "https://a.example",
        measuredAtMilliseconds: milliseconds)
    event.metrics[.dns] = MetricValue(15.3, of: .dns)
    return event
}

@Test func `an identifier used twice for different events is one event and a conflict`() {
    var other = plainEvent()
    other.metrics[.dns] = MetricValue(99, of: .dns)
    var pipeline = Pipeline()
    pipeline.append(
        [(plainEvent(), start), (other, start), (plainEvent(), start)], brokerMilliseconds: start)
    pipeline.drain()
    #expect(pipeline.tables.progress.counters.counted == 1)
    #expect(pipeline.tables.progress.counters.duplicates == 2)
    // Each repetition is compared with the one before it.
    #expect(pipeline.tables.progress.counters.idConflicts == 2)
}

@Test func `two clients may use the same identifier`() {
    var pipeline = Pipeline()
    pipeline.append(
        [(plainEvent(client: "a"), start), (plainEvent(client: "b"), start)],
        brokerMilliseconds: start)
    pipeline.drain()
    #expect(pipeline.tables.progress.counters.counted == 2)
}

@Test func `a numbered retry two hours later is a duplicate, an event two hours late is counted`() {
    var numbered = plainEvent(id: 5)
    numbered.sequence = SessionSequence(session: UniqueID(high: 3, low: 3), number: 1)
    var late = plainEvent(id: 6)
    late.sequence = SessionSequence(session: UniqueID(high: 3, low: 3), number: 2)
    let later = start + 2 * 3600 * 1000
    var pipeline = Pipeline()
    pipeline.append([(numbered, start)], brokerMilliseconds: start)
    pipeline.drain()
    pipeline.restart()
    pipeline.append([(numbered, later), (late, later)], brokerMilliseconds: later)
    pipeline.drain()
    #expect(pipeline.tables.cells.count == 1)
    let cell = pipeline.tables.cells.values.first?.cell
    #expect(cell?.total == 2)
    #expect(cell?.late == 1)
    #expect(pipeline.tables.progress.counters.duplicates == 1)
}

@Test func `names that only look the same have cells of their own`() {
    var pipeline = Pipeline()
    let events = ["caf\u{E9}", "cafe\u{301}"].enumerated().map { index, name in
        (plainEvent(id: UInt64(index), client: Name(name)), received: start)
    }
    pipeline.append(events, brokerMilliseconds: start)
    pipeline.drain()
    #expect(pipeline.tables.cells.count == 2)
    #expect(pipeline.tables.cells.values.allSatisfy { $0.cell.total == 1 })
}

@Test func `an identifier of an event that was set aside stays free, also after a restart`() {
    var pipeline = Pipeline()
    pipeline.append(
        [(plainEvent(id: 1), start), (plainEvent(id: 2, at: 0), start)], brokerMilliseconds: start)
    pipeline.drain()
    pipeline.restart()
    pipeline.append([(plainEvent(id: 2), start)], brokerMilliseconds: start)
    pipeline.drain()
    #expect(pipeline.tables.progress.counters.counted == 2)
    #expect(pipeline.tables.progress.counters.idConflicts == 0)
}

@Test(arguments: [false, true])
func `what a repetition counts for does not depend on a restart`(restarts: Bool) {
    var pipeline = Pipeline()
    let minute: Int64 = 60_000
    for (id, time) in [(1, 0), (2, 5), (1, 10), (3, 16), (1, 20), (1, 36)] as [(UInt64, Int64)] {
        let now = start + time * minute
        pipeline.append([(plainEvent(id: id, at: now), now)], brokerMilliseconds: now)
        pipeline.drain()
        if restarts { pipeline.restart() }
    }
    // The third and the fifth repeat what was there within a quarter of an hour, the last does not.
    #expect(pipeline.tables.progress.counters.counted == 4)
    #expect(pipeline.tables.progress.counters.duplicates == 2)
}

@Test func `too many identifiers are forgotten from the oldest on, and counted`() {
    var pipeline = Pipeline()
    pipeline.limits = PartitionState.Limits(recentIDCountMax: 3)
    pipeline.restart()
    let events = [1, 2, 3, 4, 4, 1].map { (plainEvent(id: $0), received: start) }
    pipeline.append(events, brokerMilliseconds: start)
    pipeline.drain()
    #expect(pipeline.tables.progress.counters.counted == 5)
    #expect(pipeline.tables.progress.counters.duplicates == 1)
    #expect(pipeline.state.idsForgottenEarly == 3)
}

@Test func `what cannot be decoded or has no window is set aside once, and the rest goes on`() {
    var pipeline = Pipeline()
    pipeline.append([(plainEvent(id: 1), start)], brokerMilliseconds: start)
    pipeline.log.append(
        (
            Array("garbage".utf8),
            PartitionState.Position(sequence: 2, brokerMilliseconds: start)
        ))
    let ancient = start - 40 * 24 * 3600 * 1000
    pipeline.append(
        [
            (plainEvent(id: 2, at: ancient), start), (plainEvent(id: 3, at: .max), start),
            (plainEvent(id: 4, at: .min), start), (plainEvent(id: 5), start),
        ], brokerMilliseconds: start)
    pipeline.drain()
    let counters = pipeline.tables.progress.counters
    #expect(counters.counted == 2)
    #expect(counters.rejected == 3)
    #expect(counters.deadLetters == 1)
    #expect(
        pipeline.tables.deadLetters.map { [Int($0.sequence), $0.index] } == [
            [2, -1], [3, 0], [3, 1], [3, 2],
        ])
    #expect(pipeline.tables.deadLetters.first?.payload == Array("garbage".utf8))
}

@Test func `probes' clocks cannot move completeness`() throws {
    var pipeline = Pipeline()
    pipeline.append(
        [(plainEvent(id: 1, at: start + 4 * 60_000), start)], brokerMilliseconds: start)
    pipeline.drain()
    let grace = PartitionState.completenessGraceMilliseconds
    #expect(pipeline.tables.progress.completeThroughMilliseconds == start - grace)
    // Read to its end and idle: the clock moves it, once for each window.
    let flush = pipeline.state.makeFlush(caughtUpAtMilliseconds: start + 60_000 + grace)
    let batch = try #require(flush)
    #expect(batch.cells.isEmpty)
    #expect(batch.progress.completeThroughMilliseconds == start + 60_000)
    pipeline.state.confirm(batch)
    let again = pipeline.state.makeFlush(caughtUpAtMilliseconds: start + 60_500 + grace)
    #expect(again == nil)
}

@Test func `a cell survives its stored parts, and contradictions are refused`() {
    var random = SeededGenerator(seed: 4)
    let (_, distinct) = traffic(&random, count: 100)
    for cell in oracleCells(distinct).values {
        var parts = storedParts(of: cell)
        #expect(Cell(parts) == cell)
        guard let metric = Metric.allCases.first(where: { cell.summary(of: $0).count > 0 }) else {
            continue
        }
        parts.metrics[metric]?.sketch.removeLast()
        #expect(Cell(parts) == nil)
    }
}

private func storedParts(of cell: Cell) -> Cell.Parts {
    var parts = Cell.Parts(
        total: cell.total, success: cell.success, error: cell.error, late: cell.late,
        errorsByStage: [:], metrics: [:], context: cell.context,
        contextMeasuredAtMilliseconds: cell.contextMeasuredAtMilliseconds)
    for stage in ErrorStage.allCases { parts.errorsByStage[stage] = cell.errors(at: stage) }
    for metric in Metric.allCases where cell.summary(of: metric).count > 0 {
        parts.metrics[metric] = (cell.summary(of: metric), cell.sketchElements(of: metric))
    }
    return parts
}

@Test func `percentiles of a cell stay within its exact extremes`() {
    var cell = Cell()
    cell.insert(MetricValue(millionths: 15_300_000), of: .dns)
    #expect(cell.quantile(0.5, of: .dns) == 15_300_000)
    #expect(cell.quantile(0.95, of: .tcp) == nil)
}

@Test func `a flush before identifiers are read again keeps where to read them from`() throws {
    var progress = PartitionProgress()
    progress.committedSequence = 40
    progress.committedBrokerMilliseconds = 1_703_347_200_000
    progress.replayFromSequence = 12
    var state = PartitionState(partition: 0, progress: progress, newestWindow: nil)
    let made = state.makeFlush(caughtUpAtMilliseconds: 1_703_347_200_000 + 3_600_000)
    let batch = try #require(made)
    #expect(batch.progress.replayFromSequence == 12)
}

@Test func `what a log that was cut twice stores anew is counted, wherever it stands`() throws {
    var progress = PartitionProgress()
    progress.committedSequence = 2
    progress.committedBrokerMilliseconds = 1_703_347_200_000
    progress.countedThroughSequence = 9
    var state = PartitionState(partition: 0, progress: progress, newestWindow: nil)
    let old = PartitionState.Position(sequence: 3, brokerMilliseconds: 1_703_347_199_000)
    let new = PartitionState.Position(sequence: 4, brokerMilliseconds: 1_703_347_201_000)
    for position in [old, new] {
        let counted = state.progress.counters.counted
        var builder = BlockBuilder(
            partition: 0, producer: .zero, byteCountMax: 1 << 16)
        let event = Event(
            id: UniqueID(high: 1, low: position.sequence), clientID: "probe", target: "https://a",
            measuredAtMilliseconds: 1_703_347_199_000)
        let isTaken = builder.append(event, receivedAtMilliseconds: 1_703_347_199_000)
        #expect(isTaken)
        let block = try ValidatedBlock(builder.seal(blockNumber: 1))
        block.withReader { reader in
            let resolution = state.resolve(reader, at: position)
            state.install(cells: [], sessions: [])
            state.apply(reader, resolution, at: position)
        }
        #expect(state.progress.counters.counted - counted == (position == new ? 1 : 0))
    }
}

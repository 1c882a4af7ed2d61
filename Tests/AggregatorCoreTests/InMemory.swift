import AggregatorCore
import Blocks
import Store
import Telemetry
import Windowing

/// What a stream holds, shared by its readers.
final class InMemoryStream {
    /// In the order of their sequences, which count from 1 over all partitions.
    private(set) var messages: [LogMessage] = []

    /// Appends a message to a partition.
    func append(_ payload: [UInt8], to partition: Int, brokerMilliseconds: Int64) {
        messages.append(
            LogMessage(
                partition: partition,
                position: PartitionState.Position(
                    sequence: UInt64(messages.count + 1), brokerMilliseconds: brokerMilliseconds),
                payload: payload))
    }

    /// Loses what follows the sequence `last`, as a broker does whose disk was not synced.
    func loseTail(after last: Int) {
        messages.removeSubrange(last...)
    }
}

/// One reader of a stream in memory, which can refuse.
final class InMemoryLog: EventLog {
    private let stream: InMemoryStream
    private var next: [Int: UInt64] = [:]
    var isBroken = false
    /// Messages of a partition that one call returns at most.
    private let batchSize = 3

    init(_ stream: InMemoryStream) {
        self.stream = stream
    }

    func extent() throws(EventLogError) -> LogExtent {
        if isBroken { throw EventLogError("broken for the test") }
        return LogExtent(
            createdNanoseconds: 1, firstSequence: 1, lastSequence: UInt64(stream.messages.count))
    }

    func anchor(at sequence: UInt64) throws(EventLogError) -> LogAnchor? {
        if isBroken { throw EventLogError("broken for the test") }
        return stream.messages.first { $0.position.sequence == sequence }.map { message in
            LogAnchor(
                sequence: sequence, brokerMilliseconds: message.position.brokerMilliseconds,
                payloadHash: message.payload.withUnsafeBytes { XXHash64.hash($0) })
        }
    }

    func open(partition: Int, from sequence: UInt64) throws(EventLogError) {
        if isBroken { throw EventLogError("broken for the test") }
        next[partition] = sequence
    }

    func close(partition: Int) {
        next[partition] = nil
    }

    func read(until deadline: ContinuousClock.Instant) throws(EventLogError) -> [LogMessage] {
        if isBroken { throw EventLogError("broken for the test") }
        var result: [LogMessage] = []
        for (partition, sequence) in next.sorted(by: { $0.key < $1.key }) {
            let rest = rest(of: partition, from: sequence).prefix(batchSize)
            result += rest
            if let last = rest.last { next[partition] = last.position.sequence + 1 }
        }
        return result
    }

    private func rest(of partition: Int, from sequence: UInt64) -> [LogMessage] {
        stream.messages.filter {
            $0.partition == partition && $0.position.sequence >= sequence
        }
    }

    /// As often as the test says.
    var readings = 1

    func readingCount(of partition: Int) -> Int { readings }

    func isCaughtUp(partition: Int) -> Bool {
        next[partition].map { rest(of: partition, from: $0).isEmpty } ?? false
    }
}

/// Tables in memory with the fence of the real ones, and with failures on demand.
final class InMemoryTables: AggregateTables {
    enum Fault {
        /// Refused before anything was written.
        case unavailable
        /// Nothing was written, and the caller cannot know.
        case unknownAndLost
        /// Everything was written, and the caller cannot know.
        case unknownAndDone
    }

    private(set) var cells: [CellKey: CellRow] = [:]
    private(set) var sessions: [SessionKey: SessionRow] = [:]
    private(set) var progress: [Int: PartitionProgress] = [:]
    private(set) var deadLetters: [DeadLetter] = []
    private(set) var owners: [Int: Ownership] = [:]
    private(set) var lost: [LostRange] = []
    /// What the crash ledger says at the next acquisition.
    var crashCounts: [Int: Int] = [:]
    private(set) var begun: [Int: [UInt64: Int]] = [:]
    private var anchors: [Int: [LogAnchor]] = [:]
    /// Struck by the next flush.
    var nextFault: Fault?
    /// Called by the next flush before it does anything.
    var duringNextFlush: (() -> Void)?
    var isDown = false
    /// Those that live besides the one under test.
    var otherInstances: Set<String> = []

    func share() throws(TablesError) -> SharingView {
        if isDown { throw .unavailable("down for the test") }
        return SharingView(
            me: "test", instances: otherInstances.union(["test"]),
            owners: owners.mapValues { _ in "test" })
    }

    func leave() {}

    func acquire(_ claim: Claim) throws(TablesError) -> ClaimOutcome {
        if isDown { throw .unavailable("down for the test") }
        let partition = claim.partition
        let former = owners[partition]
        let owner = Ownership(
            partition: partition, generation: former?.generation ?? 1, nonce: claim.nonce,
            epoch: (former?.epoch ?? 0) + 1)
        owners[partition] = owner
        // Of all partitions, which only costs a few lookups more.
        let newest = cells.keys.max()
        return .owned(
            owner,
            PartitionStanding(
                progress: progress[partition] ?? PartitionProgress(), streamCreatedNanoseconds: 1,
                anchors: anchors[partition] ?? [], newestWindow: newest?.window,
                crashCount: crashCounts[partition] ?? 0,
                begunSequence: begun[partition]?.keys.max(),
                lostRangeCount: lost.count))
    }

    func reposition(
        _ move: Reposition, under ownership: Ownership
    ) throws(TablesError) -> Ownership {
        let partition = ownership.partition
        guard owners[partition] == ownership else { throw .fenced(partition: partition) }
        let next = Ownership(
            partition: partition, generation: ownership.generation + 1, nonce: ownership.nonce,
            epoch: ownership.epoch)
        owners[partition] = next
        var moved = progress[partition] ?? PartitionProgress()
        moved.committedSequence = move.committedSequence
        moved.replayFromSequence = move.replayFromSequence
        moved.countedThroughSequence = move.countedThroughSequence
        progress[partition] = moved
        anchors[partition] = move.anchors
        lost += move.lost
        return next
    }

    func beginMessage(
        _ sequence: UInt64, under ownership: Ownership
    ) throws(TablesError) -> Int {
        begun[ownership.partition, default: [:]][sequence, default: 0] += 1
        return begun[ownership.partition]?[sequence] ?? 0
    }

    func renew(_ ownership: Ownership, committedSequence: UInt64) throws(TablesError) {
        let committed = progress[ownership.partition]?.committedSequence ?? 0
        guard owners[ownership.partition] == ownership, committed == committedSequence else {
            throw .fenced(partition: ownership.partition)
        }
    }

    func release(_ ownership: Ownership) throws(TablesError) {
        if owners[ownership.partition] == ownership { owners[ownership.partition] = nil }
    }

    func load(
        cells cellKeys: [CellKey], sessions sessionKeys: [SessionKey]
    ) throws(TablesError) -> (cells: [CellRow], sessions: [SessionRow]) {
        if isDown { throw .unavailable("down for the test") }
        return (cellKeys.compactMap { cells[$0] }, sessionKeys.compactMap { sessions[$0] })
    }

    func flush(_ batch: FlushBatch, under ownership: Ownership) throws(TablesError) {
        duringNextFlush?()
        duringNextFlush = nil
        if isDown { throw .unavailable("down for the test") }
        let fault = nextFault
        nextFault = nil
        if fault == .unavailable { throw .unavailable("refused for the test") }
        if fault == .unknownAndLost { throw .unknownOutcome("lost for the test") }
        let partition = ownership.partition
        let committed = progress[partition]?.committedSequence ?? 0
        guard owners[partition] == ownership, committed == batch.expectedSequence else {
            throw .fenced(partition: partition)
        }
        progress[partition] = batch.progress
        if let found = batch.anchors { anchors[partition] = found }
        if batch.clearsCrashLedger {
            begun[partition]?.keys.filter { $0 <= batch.progress.committedSequence }
                .forEach { begun[partition]?[$0] = nil }
            crashCounts[partition] = nil
        }
        for row in batch.cells { cells[row.key] = row }
        for row in batch.sessions { sessions[row.key] = row }
        deadLetters += batch.deadLetters
        if fault == .unknownAndDone { throw .unknownOutcome("the answer was lost for the test") }
    }
}

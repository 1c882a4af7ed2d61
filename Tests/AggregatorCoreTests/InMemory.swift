import AggregatorCore
import Blocks
import Telemetry
import Windowing

/// What a stream holds, shared by its readers.
final class InMemoryStream {
    private(set) var messages: [Int: [LogMessage]] = [:]

    /// Appends a message to a partition.
    func append(_ payload: [UInt8], to partition: Int, brokerMilliseconds: Int64) {
        let sequence = UInt64(messages[partition, default: []].count + 1)
        messages[partition, default: []].append(
            LogMessage(
                partition: partition,
                position: PartitionState.Position(
                    sequence: sequence, brokerMilliseconds: brokerMilliseconds),
                payload: payload))
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
            let rest = stream.messages[partition, default: []].dropFirst(Int(sequence) - 1)
            result += rest.prefix(batchSize)
            next[partition] = sequence + UInt64(rest.prefix(batchSize).count)
        }
        return result
    }

    func isCaughtUp(partition: Int) -> Bool {
        let count = stream.messages[partition, default: []].count
        return next[partition].map { Int($0) == count + 1 } ?? false
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
    /// Struck by the next flush.
    var nextFault: Fault?
    var isDown = false

    func acquire(partition: Int, nonce: UniqueID) throws(TablesError) -> Acquisition {
        if isDown { throw .unavailable("down for the test") }
        let owner = Ownership(
            partition: partition, nonce: nonce, epoch: (owners[partition]?.epoch ?? 0) + 1)
        owners[partition] = owner
        return .owned(owner, progress[partition] ?? PartitionProgress())
    }

    func renew(_ ownership: Ownership) throws(TablesError) {
        guard owners[ownership.partition] == ownership else {
            throw .fenced(partition: ownership.partition)
        }
    }

    func release(_ ownership: Ownership) throws(TablesError) {
        owners[ownership.partition] = nil
    }

    func load(
        cells cellKeys: [CellKey], sessions sessionKeys: [SessionKey]
    ) throws(TablesError) -> (cells: [CellRow], sessions: [SessionRow]) {
        if isDown { throw .unavailable("down for the test") }
        return (cellKeys.compactMap { cells[$0] }, sessionKeys.compactMap { sessions[$0] })
    }

    func flush(_ batch: FlushBatch, under ownership: Ownership) throws(TablesError) {
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
        for row in batch.cells { cells[row.key] = row }
        for row in batch.sessions { sessions[row.key] = row }
        deadLetters += batch.deadLetters
        if fault == .unknownAndDone { throw .unknownOutcome("the answer was lost for the test") }
    }
}

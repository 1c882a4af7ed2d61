internal import AggregatorCore
internal import Store
internal import Telemetry
internal import Windowing

/// The tables, with what the statements of `AggregateStore` make of them.
struct TableRows {
    /// A row of `partition_progress`.
    struct Partition {
        var generation: Int32 = 1
        var epoch: Int64 = 0
        var owner: String?
        var nonce: UniqueID?
        var leaseExpiresAt: Int64?
        var progress = PartitionProgress()
        var anchors: [LogAnchor] = []
        var createdNanoseconds: Int64?

        func isHeld(under ownership: Ownership) -> Bool {
            generation == ownership.generation && nonce == ownership.nonce
                && epoch == ownership.epoch
        }
    }

    /// A row's version, by which a newer one is kept.
    struct Versioned<Row> {
        let row: Row
        let generation: Int32
        let sequence: UInt64

        func isNewer(than generation: Int32, _ sequence: UInt64) -> Bool {
            (self.generation, self.sequence) > (generation, sequence)
        }
    }

    struct LetterKey: Hashable {
        let partition: Int
        let sequence: UInt64
        let index: Int
    }

    var partitions: [Partition]
    var cells: [CellKey: Versioned<CellRow>] = [:]
    var sessions: [SessionKey: Versioned<SessionRow>] = [:]
    var newestWindows: [Window?]
    var letters: [LetterKey: String] = [:]
    var ledger: [[UInt64: Int]]
    var lost: [[LostRange]]
    /// Besides what the row holds, how many messages had been stored when it was written: the oracle's knowledge.
    var trim: (createdNanoseconds: Int64, below: UInt64, storedCount: Int)?
    var instances: [String: Int64] = [:]
    /// Flushes and moves in these tables, for the oracle.
    var commitCount = 0

    init(partitionCount: Int) {
        partitions = Array(repeating: Partition(), count: partitionCount)
        newestWindows = Array(repeating: nil, count: partitionCount)
        ledger = Array(repeating: [:], count: partitionCount)
        lost = Array(repeating: [], count: partitionCount)
    }

    /// The rows of a batch; returns how many were newer in the tables.
    mutating func writeRows(_ batch: FlushBatch, _ partition: Int, _ generation: Int32) -> Int {
        var blocked = 0
        for row in batch.cells {
            if cells[row.key]?.isNewer(than: generation, row.lastSequence) == true {
                blocked += 1
                continue
            }
            cells[row.key] = Versioned(
                row: row, generation: generation, sequence: row.lastSequence)
            newestWindows[partition] = max(
                newestWindows[partition] ?? row.key.window, row.key.window)
        }
        for row in batch.sessions {
            if sessions[row.key]?.isNewer(than: generation, row.lastSequence) == true {
                blocked += 1
                continue
            }
            sessions[row.key] = Versioned(
                row: row, generation: generation, sequence: row.lastSequence)
        }
        for letter in batch.deadLetters {
            let key = LetterKey(
                partition: partition, sequence: letter.sequence, index: letter.index)
            // Another letter than before has the sequence when the stream lost its tail.
            letters[key] = letter.reason
        }
        return blocked
    }

    mutating func writeProgress(_ batch: FlushBatch, _ partition: Int, leaseUntil: Int64) {
        partitions[partition].progress = batch.progress
        if let anchors = batch.anchors { partitions[partition].anchors = anchors }
        if let created = batch.logCreatedNanoseconds {
            partitions[partition].createdNanoseconds = created
        }
        partitions[partition].leaseExpiresAt = leaseUntil
        if batch.clearsCrashLedger {
            let committed = batch.progress.committedSequence
            ledger[partition] = ledger[partition].filter { $0.key > committed }
        }
    }
}

/// PostgreSQL: a primary, and a replica that is some commits behind.
final class SimulatedDatabase {
    private(set) var rows: TableRows
    private var replica: TableRows
    private var unreplicated: [(inout TableRows) -> Void] = []
    /// Counts what ends every connection.
    private(set) var connectionEpoch = 0
    var isDown = false

    /// The replica is never further behind.
    private static let lagMax = 120

    init(partitionCount: Int) {
        rows = TableRows(partitionCount: partitionCount)
        replica = rows
    }

    /// Commits a change: on the primary now, on the replica some time later.
    func commit(_ change: @escaping (inout TableRows) -> Void) {
        change(&rows)
        unreplicated.append(change)
        if unreplicated.count > Self.lagMax { replicate(1) }
    }

    func replicate(_ count: Int) {
        for change in unreplicated.prefix(count) { change(&replica) }
        unreplicated.removeFirst(min(count, unreplicated.count))
    }

    var lag: Int { unreplicated.count }

    func restart() { connectionEpoch += 1 }

    /// The replica becomes the primary, without the last commits.
    func failOver(losing count: Int) {
        replicate(max(0, unreplicated.count - count))
        unreplicated = []
        rows = replica
        connectionEpoch += 1
    }
}

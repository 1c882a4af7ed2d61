import Postgres
import Store
import Telemetry
import Windowing

/// What a piece of work took: of the clock, of its session's server process, and of this process.
struct SessionCost {
    var seconds = 0.0
    var serverCPU = 0.0
    var ownCPU = 0.0

    static func += (total: inout SessionCost, part: SessionCost) {
        total.seconds += part.seconds
        total.serverCPU += part.serverCPU
        total.ownCPU += part.ownCPU
    }
}

/// A session whose server process is watched.
struct MeasuredSession {
    /// Statements over millions of rows take minutes.
    private static let timeout: Duration = .seconds(3600)

    let connection: PostgresConnection
    private let backend: Int32

    init(_ url: String) throws {
        connection = try PostgresConnection(
            to: PostgresConnectionString(url), timeout: Self.timeout)
        backend = connection.backendPID ?? 0
    }

    func measure(_ body: () throws -> Void) rethrows -> SessionCost {
        let own = ProcessUsage.ownCPUSeconds
        let server = ProcessUsage.cpuSeconds(of: backend)
        let start = ContinuousClock.now
        try body()
        let elapsed = ContinuousClock.now - start
        return SessionCost(
            seconds: elapsed / .seconds(1),
            serverCPU: ProcessUsage.cpuSeconds(of: backend) - server,
            ownCPU: ProcessUsage.ownCPUSeconds - own)
    }

    func measure(_ sql: String) throws -> SessionCost {
        try measure { try connection.execute(sql) }
    }

    func text(_ sql: String) throws -> String {
        guard var row = try connection.query(sql).first else { return "" }
        return try row.next()
    }

    func number(_ sql: String) throws -> Int64 {
        guard var row = try connection.query(sql).first else { return 0 }
        return try row.next()
    }
}

/// Writes batches of rows as the owner of one partition, as an aggregator does.
final class BenchmarkWriter {
    let session: MeasuredSession
    let store: AggregateStore
    private let ownership: PartitionOwnership
    private(set) var sequence: UInt64 = 0

    init(_ url: String) throws {
        session = try MeasuredSession(url)
        store = try AggregateStore(session.connection, statementTimeout: .seconds(3600))
        let acquired = try store.acquirePartition(
            stream: "EVENTS", partition: 0, owner: "benchmark",
            nonce: UniqueID(high: 7, low: 1), lease: .seconds(3600))
        guard case .acquired(let owned) = acquired else {
            throw PostgresError(.unexpectedResult, "the partition of a new database is taken")
        }
        ownership = owned.ownership
    }

    /// Makes the partitions that rows of these days need.
    func ensurePartitions(from first: Window, to last: Window) throws {
        let days = [first, last].map { $0.startMilliseconds / 86_400_000 }
        for day in days[0]...days[1] { try store.ensurePartition(ofDay: day) }
    }

    /// - Parameter cells: With ``sequence`` + 1 as their last sequence.
    func flush(_ cells: [CellRow]) throws {
        var progress = PartitionProgress()
        progress.committedSequence = sequence + 1
        progress.counters.messages = Int64(sequence + 1)
        let batch = FlushBatch(
            expectedSequence: sequence, progress: progress, cells: cells, sessions: [],
            deadLetters: [])
        let receipt = try store.flush(batch, by: ownership)
        precondition(receipt.blockedCells == 0)
        sequence += 1
    }
}

import Bus
import Glibc
import Postgres
import PrivateServers
import TestKit
import Telemetry

/// The real `aggregator` against private servers: how fast it drains a stream, what that costs, how late its rows are.
///
/// PostgreSQL keeps its promises to the disk (fsync, synchronous_commit and full_page_writes are on); larger
/// buffers and rarer checkpoints than its defaults are what an operator would set.
struct AggregatorBenchmark {
    var eventCount = 10_000_000
    var cellCounts = [1000, 100_000, 1_000_000]
    var orders = Workload.Order.allCases
    /// How long the latency is watched.
    var latencySeconds = 20
    /// Further arguments for the aggregator.
    var arguments: [String] = []

    static let postgresParameters = [
        "shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min",
        "max_locks_per_transaction": "256",
    ]

    func run() throws {
        print("Aggregator, \(eventCount) events per stream")
        try withTemporaryFolder { folder in
            var settings = PostgresServer.Settings(dataFolder: "\(folder)/postgres")
            settings.parameters = Self.postgresParameters
            let postgres = try PostgresServer(settings)
            defer { try? postgres.kill() }
            let database = DatabaseSeries(postgres)
            try printInsertBaseline(database)
            print(
                pad("cells", -9), pad("order", -11), pad("read/s", -10), pad("drain/s", -10),
                pad("of read", -8), pad("own/core", -10), pad("own s/M", -8), pad("read s/M", -8),
                pad("nats s/M", -8), pad("pg s/M", -8), pad("rows/event", -10), pad("peak MB", -8),
                pad("restart s", -9))
            for cellCount in cellCounts {
                for order in orders {
                    try measure(cellCount, order, folder, database)
                    // Each line as it is measured, into a file as well.
                    fflush(nil)
                }
            }
            if latencySeconds > 0 { try measureLatency(folder, database) }
        }
        print("")
    }

    // MARK: Draining

    private func measure(
        _ cellCount: Int, _ order: Workload.Order, _ folder: String, _ database: DatabaseSeries
    ) throws {
        let stream = try StoredStream(folder: "\(folder)/\(cellCount)-\(order)")
        defer {
            stream.stop()
            removeFolder("\(folder)/\(cellCount)-\(order)")
        }
        let workload = Workload(
            eventCount: eventCount, cellCount: cellCount, order: order,
            endMilliseconds: unixMilliseconds())
        try stream.fill(workload)
        let read = try stream.readAll()

        let whole = try drain(stream, database, folder, killingAt: nil)
        let rows = try database.number(
            "SELECT coalesce(sum(count_total), 0)::bigint FROM agg_1m", whole.url)
        guard rows == workload.eventCount else {
            throw StoredStream.Failure(
                description: "\(rows) events counted of \(workload.eventCount)")
        }
        try database.drop(whole.url)
        let killed = try drain(stream, database, folder, killingAt: 0.5)
        try database.drop(killed.url)

        let million = Double(stream.eventCount) / 1e6
        let readRate = Double(stream.eventCount) / read.seconds
        let rate = Double(stream.eventCount) / whole.seconds
        print(
            pad("\(workload.cellCount)", -9), pad("\(order)", -11), pad(decimal(readRate, 0), -10),
            pad(decimal(rate, 0), -10), pad(decimal(rate / readRate, 2), -8),
            pad(decimal(1e6 * million / whole.ownCPU, 0), -10),
            pad(decimal(whole.ownCPU / million, 3), -8),
            pad(decimal(read.cpuSeconds / million, 3), -8),
            pad(decimal(whole.natsCPU / million, 3), -8),
            pad(decimal(whole.postgresCPU / million, 3), -8),
            pad(decimal(whole.rowsWritten / Double(stream.eventCount), 3), -10),
            pad("\(whole.peakMemory >> 20)", -8), pad(decimal(killed.secondsAfterKill, 1), -9))
    }

    private struct Drain {
        var url = ""
        var seconds = 0.0
        var ownCPU = 0.0
        var natsCPU = 0.0
        var postgresCPU = 0.0
        var rowsWritten = 0.0
        var peakMemory = 0
        var secondsAfterKill = 0.0
    }

    /// Lets an aggregator drain the stream into a new database.
    private func drain(
        _ stream: StoredStream, _ database: DatabaseSeries, _ folder: String,
        killingAt share: Double?
    ) throws -> Drain {
        var result = Drain()
        result.url = try database.make()
        let total = Double(stream.lastSequences.reduce(0, &+))
        let natsCPU = ProcessUsage.cpuSeconds(of: stream.server.processIdentifier)
        let postgresCPU = ProcessUsage.cpuSecondsOfFamily(database.server.processIdentifier)
        let progress = try Progress(result.url)
        var aggregator = try start(stream, result.url, folder)
        defer { try? aggregator.kill() }
        let start = ContinuousClock.now
        var killed: ContinuousClock.Instant?
        while true {
            usleep(20_000)
            let committed = try progress.committed()
            if zip(committed, stream.lastSequences).allSatisfy({ $0 >= $1 }) { break }
            if let exit = aggregator.exit {
                throw StoredStream.Failure(description: "the aggregator \(exit)")
            }
            if let share, killed == nil, Double(committed.reduce(0, &+)) >= share * total {
                try aggregator.kill()
                killed = .now
                aggregator = try self.start(stream, result.url, folder)
            }
        }
        let end = ContinuousClock.now
        result.seconds = (end - start) / .seconds(1)
        if let killed { result.secondsAfterKill = (end - killed) / .seconds(1) }
        result.ownCPU = ProcessUsage.cpuSeconds(of: aggregator.processIdentifier)
        result.peakMemory = ProcessUsage.peakMemory(of: aggregator.processIdentifier)
        result.natsCPU = ProcessUsage.cpuSeconds(of: stream.server.processIdentifier) - natsCPU
        try aggregator.stop()
        result.postgresCPU =
            ProcessUsage.cpuSecondsOfFamily(database.server.processIdentifier) - postgresCPU
        result.rowsWritten = try progress.rowsWritten()
        return result
    }

    private func start(
        _ stream: StoredStream, _ url: String, _ folder: String
    ) throws -> PrivateProcess {
        try Self.start(
            natsURL: stream.server.url, postgresURL: url, folder: folder, further: arguments)
    }

    static func start(
        natsURL: String, postgresURL: String, folder: String, further: [String] = []
    ) throws -> PrivateProcess {
        try PrivateProcess(
            PrivateProcess.Launch(
                name: "aggregator", executable: builtProgram("aggregator"),
                arguments: [
                    "--nats-url", natsURL, "--postgres-url", postgresURL,
                    "--metrics-listen", "127.0.0.1:0", "--instance-id", "benchmark",
                ] + further,
                logFile: "\(folder)/aggregator.log", pidFile: "\(folder)/aggregator.pid"))
    }

    // MARK: Latency

    /// From the publish of a block to its rows in SQL, with blocks at half the rate at which this machine drains.
    private func measureLatency(_ folder: String, _ database: DatabaseSeries) throws {
        for cellCount in cellCounts where cellCount <= 100_000 {
            try measureLatency(cellCount, folder, database)
        }
    }

    private func measureLatency(
        _ cellCount: Int, _ folder: String, _ database: DatabaseSeries
    ) throws {
        let stream = try StoredStream(folder: "\(folder)/latency")
        defer {
            stream.stop()
            removeFolder("\(folder)/latency")
        }
        let workload = Workload(
            eventCount: eventCount / 2, cellCount: cellCount, order: .ordered,
            endMilliseconds: unixMilliseconds())
        try stream.fill(workload)
        let drained = try drain(stream, database, folder, killingAt: nil)
        let rate = Double(stream.eventCount) / drained.seconds / 2
        // The same aggregator's partitions go on with new probes' events in the present minutes.
        let live = Workload(
            eventCount: Int(rate) * latencySeconds, cellCount: cellCount, order: .ordered,
            endMilliseconds: unixMilliseconds())
        var blocks: [(bytes: [UInt8], partition: Int, events: Int)] = []
        let liveCount = live.forEachBlock { blocks.append(($0, $1, $2)) }

        let published = PublishedBlocks()
        let progress = try Progress(drained.url)
        let aggregator = try start(stream, drained.url, folder)
        defer { try? aggregator.kill() }
        try Self.awaitOwnership(drained.url, database)
        let answered = try publish(
            blocks, at: rate, to: stream, published, watching: progress)
        var latencies = published.latencies
        latencies.sort()
        guard !latencies.isEmpty else { return }
        func percentile(_ share: Double) -> Double {
            latencies[min(latencies.count - 1, Int(Double(latencies.count) * share))]
        }
        print(
            "  latency at half load, \(cellCount) cells: \(decimal(rate, 0)) events/s",
            "(\(liveCount) events, \(answered) blocks): p50 \(decimal(percentile(0.5), 3)) s,",
            "p99 \(decimal(percentile(0.99), 3)) s, max \(decimal(latencies.last ?? 0, 3)) s")
        try aggregator.stop()
        try database.drop(drained.url)
    }

    static func awaitOwnership(_ url: String, _ database: DatabaseSeries) throws {
        for _ in 0..<500 {
            let owned = try database.number(
                "SELECT count(*) FROM partition_progress WHERE lease_expires_at > now()", url)
            if owned == Int64(Partitioning.standard.count) { return }
            usleep(20_000)
        }
    }

    private func publish(
        _ blocks: [(bytes: [UInt8], partition: Int, events: Int)], at rate: Double,
        to stream: StoredStream, _ published: PublishedBlocks, watching progress: Progress
    ) throws -> Int {
        stream.onStored { published.stored($1, $0) }
        defer { stream.onStored(nil) }
        let start = ContinuousClock.now
        var events = 0
        for block in blocks {
            let due = start + .seconds(Double(events) / rate)
            while ContinuousClock.now < due {
                published.committed(try progress.committed(), at: .now)
                let rest = due - .now
                if rest > .zero { usleep(UInt32(min(5000, max(1, rest / .microseconds(1))))) }
            }
            published.sends(block.partition, at: .now)
            try stream.publish(block.bytes, block.partition)
            events += block.events
        }
        let limit = ContinuousClock.now + .seconds(30)
        while published.openCount > 0, ContinuousClock.now < limit {
            published.committed(try progress.committed(), at: .now)
            usleep(5000)
        }
        return blocks.count
    }
}

extension AggregatorBenchmark {
    /// What one event costs when its identifier is a row, as a plain design has it: batches of rows with
    /// ON CONFLICT DO NOTHING.
    private func printInsertBaseline(_ database: DatabaseSeries) throws {
        let sampleCount = min(eventCount, 300_000)
        let batchCount = 500
        let url = try database.make()
        let connection = try PostgresConnection(to: PostgresConnectionString(url))
        try connection.execute(
            "CREATE TABLE events (event_id uuid PRIMARY KEY, client_id text, ts timestamptz)")
        let statement = PostgresStatement(
            "insert_events",
            """
            INSERT INTO events SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[])
            ON CONFLICT DO NOTHING
            """)
        var random = SeededGenerator(seed: 3)
        let postgresCPU = ProcessUsage.cpuSecondsOfFamily(database.server.processIdentifier)
        let start = ContinuousClock.now
        for first in stride(from: 0, to: sampleCount, by: batchCount) {
            let indices = first..<min(first + batchCount, sampleCount)
            var parameters = PostgresParameters()
            parameters.append(arrayOf: indices) { _ in
                PostgresUUID(high: random.next(), low: random.next())
            }
            parameters.append(arrayOf: indices) { "probe-\($0 % 1000)" }
            parameters.append(arrayOf: indices) { PostgresTimestamp(milliseconds: Int64($0)) }
            _ = try connection.query(statement, parameters)
        }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        connection.close()
        let cpu = ProcessUsage.cpuSecondsOfFamily(database.server.processIdentifier) - postgresCPU
        let million = Double(sampleCount) / 1e6
        print(
            "  one row per event id, ON CONFLICT DO NOTHING, batches of \(batchCount):",
            "\(decimal(Double(sampleCount) / seconds, 0)) events/s,",
            "PostgreSQL \(decimal(cpu / million, 2)) CPU s per million")
        try database.drop(url)
    }
}

import Glibc
import Postgres
import PrivateServers
import TestKit
import Telemetry

extension IngestBenchmark {
    /// Batches posted until their rows are committed: the load, `ingest`, nats-server, `aggregator` and PostgreSQL
    /// on this machine.
    func runWholeWay() throws {
        print(
            "The whole way, batches of \(Self.batchOfGoals) numbered events until their rows are committed"
        )
        try withTemporaryFolder { folder in
            var settings = PostgresServer.Settings(dataFolder: "\(folder)/postgres")
            settings.parameters = AggregatorBenchmark.postgresParameters
            let postgres = try PostgresServer(settings)
            defer { try? postgres.kill() }
            let database = DatabaseSeries(postgres)
            let tokens = try Tokens(folder: folder)
            let connections = 16
            for round in 1...rounds {
                let nats = try BenchmarkNATS(folder: "\(folder)/nats-\(round)")
                defer { nats.stop() }
                let url = try database.make()
                let ingest = try BenchmarkIngest(
                    folder: folder, natsURL: nats.url, tokensFile: tokens.path, threads: nil)
                defer { ingest.stop() }
                let aggregator = try AggregatorBenchmark.start(
                    natsURL: nats.url, postgresURL: url, folder: folder)
                defer { try? aggregator.kill() }
                try AggregatorBenchmark.awaitOwnership(url, database)
                var requests = PostedRequests(
                    eventsPerRequest: Self.batchOfGoals, token: tokens.token,
                    measuredAtMilliseconds: unixMilliseconds())
                let pids = [
                    ("ingest", ingest.processIdentifier), ("nats", nats.processIdentifier),
                    ("aggregator", aggregator.processIdentifier),
                ]
                let before = pids.map { ProcessUsage.cpuSeconds(of: $0.1) }
                let postgresBefore = ProcessUsage.cpuSecondsOfFamily(
                    postgres.processIdentifier)
                let ownBefore = ProcessUsage.ownCPUSeconds
                let start = ContinuousClock.now
                let load = try SocketLoad(
                    port: ingest.port, connectionCount: connections,
                    seconds: Double(seconds) * 3, renumbers: true
                ).run(&requests)
                let own = ProcessUsage.ownCPUSeconds - ownBefore
                let posted = ContinuousClock.now
                let expected = Int64((load.requestCount - load.failureCount) * Self.batchOfGoals)
                let rows = try awaitRows(expected, url)
                let committed = ContinuousClock.now
                let elapsed = (committed - start) / .seconds(1)
                var shares = [("load", own)]
                shares += zip(pids, before).map { pid, cpu in
                    (pid.0, ProcessUsage.cpuSeconds(of: pid.1) - cpu)
                }
                shares.append(
                    (
                        "postgres",
                        ProcessUsage.cpuSecondsOfFamily(
                            postgres.processIdentifier) - postgresBefore
                    ))
                print(
                    "  \(decimal(Double(rows) / elapsed, 0)) events/s committed, \(rows) events,",
                    "posted at \(decimal(load.requestsPerSecond * Double(Self.batchOfGoals), 0)) events/s,",
                    "the last rows \(decimal((committed - posted) / .seconds(1), 1)) s behind the last answer,",
                    "p50 \(decimal(load.p50Milliseconds, 1)) ms, p99 \(decimal(load.p99Milliseconds, 1)) ms,",
                    "failed \(load.failureCount)")
                let million = Double(rows) / 1e6
                let cores = shares.map { name, cpu in
                    "\(name) \(decimal(cpu / elapsed, 2)) (\(decimal(cpu / million, 2)) s/M)"
                }
                print("    cores used: \(cores.joined(separator: ", "))")
                fflush(nil)
                try aggregator.kill()
                try database.drop(url)
            }
        }
        print("")
    }

    /// Until the tables count what was answered.
    private func awaitRows(_ expected: Int64, _ url: String) throws -> Int64 {
        let connection = try PostgresConnection(to: PostgresConnectionString(url))
        defer { connection.close() }
        let limit = ContinuousClock.now + .seconds(120)
        while true {
            let result = try connection.query(
                "SELECT coalesce(sum(count_total), 0)::bigint FROM agg_1m")
            guard var row = result.first else { continue }
            let counted: Int64 = try row.next()
            if counted >= expected { return counted }
            guard ContinuousClock.now < limit else {
                throw StoredStream.Failure(
                    description: "\(counted) events counted of \(expected)")
            }
            usleep(50_000)
        }
    }
}

import Glibc
import PrivateServers
import TestKit

extension IngestBenchmark {
    /// Batches against one message per event when the server syncs every message to the disk.
    func runDurable() throws {
        print("Ingest with sync_interval: always, batches of \(Self.batchOfGoals) events")
        guard let syncingServer, access(syncingServer, X_OK) == 0 else {
            print(
                "  skipped: name a nats-server of 2.10 or newer by --nats-server or",
                "QOE_BENCH_NATS_SERVER; Debian 12's syncs once a minute\n")
            return
        }
        try withTemporaryFolder { folder in
            guard let wrk = WrkLoad(folder: folder) else { return }
            let nats = try BenchmarkNATS(
                folder: "\(folder)/nats", executable: syncingServer, syncsAlways: true)
            defer { nats.stop() }
            let tokens = try Tokens(folder: folder)
            let requests = PostedRequests(
                eventsPerRequest: Self.batchOfGoals, token: tokens.token,
                measuredAtMilliseconds: unixMilliseconds())
            let single = PostedRequests(
                eventsPerRequest: 1, token: tokens.token,
                measuredAtMilliseconds: unixMilliseconds())
            var bare: [Double] = []
            var batches: [LoadResult] = []
            var singles: [LoadResult] = []
            for _ in 0..<rounds {
                let publishing = BarePublishing(nats: nats, seconds: Double(seconds), window: 512)
                bare.append(try publishing.best().eventsPerSecond)
                let ingest = try BenchmarkIngest(
                    folder: folder, natsURL: nats.url, tokensFile: tokens.path, threads: nil)
                defer { ingest.stop() }
                batches.append(
                    try wrk.run(requests, port: ingest.port, connections: 64, seconds: seconds))
                try nats.removeEvents()
                singles.append(
                    try wrk.run(single, port: ingest.port, connections: 256, seconds: seconds))
                try nats.removeEvents()
            }
            let base = median(bare)
            print(
                "  one message per event by libnats   \(pad(decimal(base, 0), -9)) events/s   baseline"
            )
            printDurable("batches, 64 connections", batches, events: Self.batchOfGoals, base)
            printDurable("single events, 256 connections", singles, events: 1, base)
        }
        print("")
    }

    private func printDurable(_ name: String, _ runs: [LoadResult], events: Int, _ base: Double) {
        let load = LoadResult.middle(runs)
        let rate = load.requestsPerSecond * Double(events)
        print(
            "  \(pad(name, 35))\(pad(decimal(rate, 0), -9)) events/s   \(decimal(rate / base, 0)) × baseline;",
            "p50 \(decimal(load.p50Milliseconds, 1)) ms, p99 \(decimal(load.p99Milliseconds, 1)) ms,",
            "failed \(runs.reduce(0) { $0 + $1.failureCount })")
    }
}

import Glibc
import IngestCore
import PrivateServers
import TestKit
import Telemetry

/// The real `ingest` behind HTTP, before a private nats-server, all on this machine together with the load.
///
/// Beside it, in the same rounds: nginx that answers 204, and one message per event published without HTTP.
struct IngestBenchmark {
    var connectionCounts = [1, 16, 64, 256]
    var batchSizes = [50, 500]
    var rounds = 3
    var seconds = 3
    /// A nats-server that knows `sync_interval`, 2.10 or newer; nil skips what needs it.
    var syncingServer: String?
    var memorySeconds = 600
    var overloadSeconds = 20

    static let batchOfGoals = 500
    private static let clientScope = "probe-*"

    func run() throws {
        print(
            "Ingest, \(seconds) s each, middle of \(rounds) rounds, load and servers on the same",
            "\(sysconf(Int32(_SC_NPROCESSORS_ONLN))) cores")
        try withTemporaryFolder { folder in
            guard let wrk = WrkLoad(folder: folder) else { return }
            let nats = try BenchmarkNATS(folder: "\(folder)/nats")
            defer { nats.stop() }
            let nginx = try BenchmarkNginx(folder: folder)
            defer { nginx?.stop() }
            let tokens = try Tokens(folder: folder)
            let stage = Stage(wrk: wrk, nats: nats, nginx: nginx, tokens: tokens, folder: folder)
            let singles = try measureSingles(stage)
            try measureBatches(stage)
            try measureHalfLoad(stage, full: singles)
        }
        print("")
    }

    /// A tokens file with one token for the load's probes.
    struct Tokens {
        let path: String
        let token: String

        init(folder: String) throws {
            path = "\(folder)/tokens.jsonl"
            token = try TokenFile.create(
                name: "benchmarks", clients: [IngestBenchmark.clientScope], in: path)
        }
    }

    private struct Stage {
        let wrk: WrkLoad
        let nats: BenchmarkNATS
        let nginx: BenchmarkNginx?
        let tokens: Tokens
        let folder: String

        func requests(_ eventsPerRequest: Int) -> PostedRequests {
            PostedRequests(
                eventsPerRequest: eventsPerRequest, token: tokens.token,
                measuredAtMilliseconds: unixMilliseconds())
        }

        func ingest(threads: Int?) throws -> BenchmarkIngest {
            try BenchmarkIngest(
                folder: folder, natsURL: nats.url, tokensFile: tokens.path, threads: threads)
        }
    }

    /// Who answers.
    private enum Door: CaseIterable {
        case nginx, nginxReading, oneLoop, defaultLoops

        var name: String {
            switch self {
            case .nginx: "nginx, 204"
            case .nginxReading: "nginx, reads, 204"
            case .oneLoop: "ingest, 1 loop"
            case .defaultLoops: "ingest, loop/core"
            }
        }
    }

    /// One door under one load, over the rounds.
    private struct Series {
        var runs: [LoadResult] = []
        /// CPU seconds per million events.
        var doorCPU: [Double] = []
        var natsCPU: [Double] = []
    }

    // MARK: As fast as it goes

    /// - Returns: Requests per second of one loop at the highest count of connections of at most 64.
    private func measureSingles(_ stage: Stage) throws -> Double {
        print("\nSingle events (\(stage.requests(1).bodyByteCount) bytes), wrk -t1, keep-alive")
        printHeader()
        var best = 0.0
        for count in connectionCounts {
            let series = try measure(stage, eventsPerRequest: 1, connections: count, Door.allCases)
            report(series, events: 1, connections: count)
            best = max(
                best, LoadResult.middle(series[.oneLoop]?.runs ?? []).requestsPerSecond)
        }
        return best
    }

    private func measureBatches(_ stage: Stage) throws {
        var bare: [BarePublishing.Result] = []
        for _ in 0..<rounds {
            bare.append(try BarePublishing(nats: stage.nats, seconds: Double(seconds)).best())
            try stage.nats.removeEvents()
        }
        let rates = bare.map(\.eventsPerSecond)
        print(
            "\nOne message per event by libnats, no HTTP: \(decimal(median(rates), 0)) events/s,",
            "\(decimal(median(bare.map(\.cpuSecondsPerMillion)), 2)) CPU s per million of its own,",
            "\(decimal(median(bare.map(\.natsCPUSecondsPerMillion)), 2)) of nats-server")
        for size in batchSizes {
            print("\nBatches of \(size) events (\(stage.requests(size).bodyByteCount) bytes)")
            printHeader()
            for count in connectionCounts {
                let doors: [Door] = [.nginxReading, .oneLoop, .defaultLoops]
                let series = try measure(stage, eventsPerRequest: size, connections: count, doors)
                report(series, events: size, connections: count, bare: median(rates))
            }
        }
    }

    private func measure(
        _ stage: Stage, eventsPerRequest: Int, connections: Int, _ doors: [Door]
    ) throws -> [Door: Series] {
        var series: [Door: Series] = [:]
        let requests = stage.requests(eventsPerRequest)
        for _ in 0..<rounds {
            for door in doors {
                guard let run = try measure(stage, requests, connections, door) else { continue }
                let events = Double(run.load.requestCount * eventsPerRequest) / 1e6
                series[door, default: Series()].runs.append(run.load)
                series[door]?.doorCPU.append(run.doorCPU / max(events, 1e-6))
                series[door]?.natsCPU.append(run.natsCPU / max(events, 1e-6))
            }
        }
        return series
    }

    private func measure(
        _ stage: Stage, _ requests: PostedRequests, _ connections: Int, _ door: Door
    ) throws -> (load: LoadResult, doorCPU: Double, natsCPU: Double)? {
        switch door {
        case .nginx, .nginxReading:
            guard let nginx = stage.nginx, door == .nginx || nginx.readsBodies else { return nil }
            let pid = nginx.process.processIdentifier
            let cpu = ProcessUsage.cpuSecondsOfFamily(pid)
            let load = try stage.wrk.run(
                requests, port: nginx.port, path: door == .nginx ? "/events" : "/read/events",
                connections: connections, seconds: seconds)
            return (load, ProcessUsage.cpuSecondsOfFamily(pid) - cpu, 0)
        case .oneLoop, .defaultLoops:
            let ingest = try stage.ingest(threads: door == .oneLoop ? 1 : nil)
            defer { ingest.stop() }
            let cpu = ProcessUsage.cpuSeconds(of: ingest.processIdentifier)
            let natsCPU = ProcessUsage.cpuSeconds(of: stage.nats.processIdentifier)
            let load = try stage.wrk.run(
                requests, port: ingest.port, connections: connections, seconds: seconds)
            let used = (
                load, ProcessUsage.cpuSeconds(of: ingest.processIdentifier) - cpu,
                ProcessUsage.cpuSeconds(of: stage.nats.processIdentifier) - natsCPU
            )
            try stage.nats.removeEvents()
            return used
        }
    }

    private func printHeader() {
        print(
            pad("connections", 13), pad("door", 18), pad("requests/s", -11), pad("events/s", -10),
            pad("of nginx", -9), pad("of bare", -8), pad("p50 ms", -8), pad("p99", -7),
            pad("p99.9", -7), pad("own s/M", -8), pad("nats s/M", -9), pad("failed", -7))
    }

    private func report(
        _ series: [Door: Series], events: Int, connections: Int, bare: Double? = nil
    ) {
        let base = LoadResult.middle(
            series[.nginx]?.runs ?? series[.nginxReading]?.runs ?? []
        ).requestsPerSecond
        for door in Door.allCases {
            guard let measured = series[door] else { continue }
            let load = LoadResult.middle(measured.runs)
            let rate = load.requestsPerSecond * Double(events)
            let isIngest = door == .oneLoop || door == .defaultLoops
            print(
                pad("\(connections)", 13), pad(door.name, 18),
                pad(decimal(load.requestsPerSecond, 0), -11), pad(decimal(rate, 0), -10),
                pad(base > 0 ? decimal(load.requestsPerSecond / base, 2) : "", -9),
                pad(bare.map { isIngest ? decimal(rate / $0, 1) : "" } ?? "", -8),
                pad(decimal(load.p50Milliseconds, 2), -8),
                pad(decimal(load.p99Milliseconds, 1), -7),
                pad(decimal(load.p999Milliseconds, 1), -7),
                pad(decimal(median(measured.doorCPU), 2), -8),
                pad(isIngest ? decimal(median(measured.natsCPU), 2) : "", -9),
                pad("\(measured.runs.reduce(0) { $0 + $1.failureCount })", -7))
        }
        // Each line as it is measured, into a file as well.
        fflush(nil)
    }

    // MARK: At half the load

    private func measureHalfLoad(_ stage: Stage, full: Double) throws {
        let connections = 64
        print(
            "\nSingle events at half the load that one loop takes, open loop, \(connections) connections"
        )
        var runs: [LoadResult] = []
        for _ in 0..<rounds {
            let ingest = try stage.ingest(threads: 1)
            defer { ingest.stop() }
            var requests = stage.requests(1)
            let load = SocketLoad(
                port: ingest.port, connectionCount: connections, seconds: Double(seconds) * 2,
                rate: full / 2)
            runs.append(try load.run(&requests))
            try stage.nats.removeEvents()
        }
        let load = LoadResult.middle(runs)
        let all = runs.map { decimal($0.p99Milliseconds, 1) }.joined(separator: ", ")
        print(
            "  \(decimal(full / 2, 0)) due and \(decimal(load.requestsPerSecond, 0)) answered/s:",
            "p50 \(decimal(median(runs.map(\.p50Milliseconds)), 2)) ms,",
            "p99 \(decimal(median(runs.map(\.p99Milliseconds)), 1)) ms (rounds: \(all)),",
            "p99.9 \(decimal(median(runs.map(\.p999Milliseconds)), 1)) ms,",
            "failed \(runs.reduce(0) { $0 + $1.failureCount })")
    }
}

/// The wall clock.
func unixMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

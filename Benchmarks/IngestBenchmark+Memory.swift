import Glibc
import OwnedThreads
import PrivateServers
import TestKit

extension IngestBenchmark {
    /// Resident memory of `ingest` at full load, once a second.
    func runMemory() throws {
        print(
            "Memory of ingest under full load for \(memorySeconds) s, single events and batches in turn"
        )
        try withTemporaryFolder { folder in
            guard let wrk = WrkLoad(folder: folder) else { return }
            let nats = try BenchmarkNATS(folder: "\(folder)/nats")
            defer { nats.stop() }
            let tokens = try Tokens(folder: folder)
            let ingest = try BenchmarkIngest(
                folder: folder, natsURL: nats.url, tokensFile: tokens.path, threads: nil)
            defer { ingest.stop() }
            let samples = MemorySamples(of: ingest.processIdentifier)
            let end = ContinuousClock.now + .seconds(memorySeconds)
            var eventCount = 0
            // Long enough to settle, short enough to remove the events before the disk is full.
            let stretchSeconds = 10
            var round = 0
            while ContinuousClock.now < end {
                let size = round % 2 == 0 ? 1 : 50
                let requests = PostedRequests(
                    eventsPerRequest: size, token: tokens.token,
                    measuredAtMilliseconds: unixMilliseconds())
                let load = try wrk.run(
                    requests, port: ingest.port, connections: 64, seconds: stretchSeconds)
                eventCount += load.requestCount * size
                round += 1
                try nats.removeEvents()
            }
            let megabytes = samples.stop()
            // The first fifth fills buffers and caches.
            let settled = Array(megabytes.dropFirst(megabytes.count / 5))
            print(
                "  \(eventCount) events, \(megabytes.count) samples: first \(decimal(megabytes.first ?? 0, 1)) MB,",
                "settled from \(decimal(settled.min() ?? 0, 1)) to \(decimal(settled.max() ?? 0, 1)) MB,",
                "last \(decimal(megabytes.last ?? 0, 1)) MB;",
                "slope \(decimal(slope(settled) * 60, 3)) MB per minute\n")
        }
    }

    /// Of the straight line nearest to the values, per step.
    private func slope(_ values: [Double]) -> Double {
        guard values.count > 1 else { return 0 }
        let count = Double(values.count)
        let middle = (count - 1) / 2
        let mean = values.reduce(0, +) / count
        var product = 0.0
        var square = 0.0
        for (index, value) in values.enumerated() {
            let distance = Double(index) - middle
            product += distance * (value - mean)
            square += distance * distance
        }
        return product / square
    }
}

/// Samples the resident memory of a process once a second on a thread of its own.
private final class MemorySamples: Sendable {
    private struct State {
        var megabytes: [Double] = []
        var isStopped = false
    }

    private let state = Monitor(State())
    private let thread: OwnedThread

    init(of pid: Int32) {
        let state = state
        thread = OwnedThread(name: "memory") {
            while true {
                let now = Double(ProcessUsage.memory(of: pid)) / Double(1 << 20)
                state.update { $0.megabytes.append(now) }
                let isStopped = state.wait(until: .now + .seconds(1)) { $0.isStopped ? true : nil }
                if isStopped == true { return }
            }
        }
    }

    /// - Returns: All samples, MB.
    func stop() -> [Double] {
        state.update { $0.isStopped = true }
        thread.join()
        return state.withLock { $0.megabytes }
    }
}

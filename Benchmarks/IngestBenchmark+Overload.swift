import Blocks
import Bus
import Glibc
import NATSClient
import PrivateServers
import Telemetry
import TestKit

extension IngestBenchmark {
    private static let overloadConnections = 512
    private static let overloadBatch = 100
    private static let inFlightMegabytes = 2

    /// Many more bytes on offer at once than may be in flight: what is answered, what `ingest` holds meanwhile, and
    /// whether everything that it accepted is in the stream.
    func runOverload() throws {
        print(
            "Overload, \(Self.overloadConnections) connections with batches of \(Self.overloadBatch),",
            "--max-inflight-bytes \(Self.inFlightMegabytes)MiB, \(overloadSeconds) s")
        try withTemporaryFolder { folder in
            guard let wrk = WrkLoad(folder: folder) else { return }
            let nats = try BenchmarkNATS(folder: "\(folder)/nats")
            defer { nats.stop() }
            let tokens = try Tokens(folder: folder)
            let ingest = try BenchmarkIngest(
                folder: folder, natsURL: nats.url, tokensFile: tokens.path, threads: nil,
                further: ["--max-inflight-bytes", "\(Self.inFlightMegabytes)MiB"])
            defer { ingest.stop() }
            let requests = PostedRequests(
                eventsPerRequest: Self.overloadBatch, token: tokens.token,
                measuredAtMilliseconds: unixMilliseconds())
            let before = Double(ProcessUsage.memory(of: ingest.processIdentifier))
            let load = try wrk.run(
                requests, port: ingest.port, connections: Self.overloadConnections,
                seconds: overloadSeconds, countsStatuses: true)
            let peak = Double(ProcessUsage.peakMemory(of: ingest.processIdentifier))
            // Ended, so that nothing comes any more while the stream is counted.
            ingest.stop()
            let stored = try nats.countEvents()
            let accepted = load.statuses[202, default: 0] * Self.overloadBatch
            let onOffer = Double(Self.overloadConnections * requests.bodyByteCount)
            let megabyte = Double(1 << 20)
            let statuses = load.statuses.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
            print(
                "  \(decimal(onOffer / megabyte, 1)) MiB on offer; answers \(statuses.joined(separator: ", "));",
                "accepted \(accepted) events, stored \(stored);",
                "ingest had \(decimal(before / megabyte, 1)) MB before and \(decimal(peak / megabyte, 1)) MB at most\n"
            )
            guard stored >= accepted else {
                throw StoredStream.Failure(
                    description: "\(accepted - stored) accepted events are not in the stream")
            }
        }
    }
}

extension BenchmarkNATS {
    /// The events of all blocks in the stream.
    fileprivate func countEvents() throws -> Int {
        let jetStream = JetStream(try connector.waitUntilConnected(within: .seconds(10)))
        let stream = try jetStream.stream(named: BusStream.events)
        let reader = StreamReader.events(connector: connector)
        defer { reader.stop() }
        for partition in 0..<Partitioning.standard.count {
            reader.add(partition, from: stream.firstSequence)
        }
        var events = 0
        var next = stream.firstSequence
        let limit = ContinuousClock.now + .seconds(120)
        while next <= stream.lastSequence {
            guard ContinuousClock.now < limit else {
                throw StoredStream.Failure(description: "the stream cannot be read to its end")
            }
            for message in reader.next(until: .now + .seconds(1)) {
                next += 1
                events += try message.message.withUnsafePayload {
                    try BlockReader(validating: $0).eventCount
                }
            }
        }
        return events
    }
}

import Bus
import Glibc
import NATSClient
import Synchronization
import Telemetry

/// One message per event straight to JetStream, as a service without blocks would do it at best: plain publishes,
/// acknowledgements to one inbox, many without an answer at a time.
struct BarePublishing {
    let nats: BenchmarkNATS
    let seconds: Double
    /// Messages without an acknowledgement; more of them made it no faster.
    var window = 4096

    struct Result {
        var eventsPerSecond = 0.0
        var cpuSecondsPerMillion = 0.0
        var natsCPUSecondsPerMillion = 0.0
    }

    /// The better of writing each message at once and of leaving it to libnats to gather some for a millisecond.
    func best() throws -> Result {
        let results = try [true, false].map { try run(sendsAtOnce: $0) }
        return results.max { $0.eventsPerSecond < $1.eventsPerSecond } ?? Result()
    }

    private final class Answers: Sendable {
        let stored = Atomic(0)
        let failed = Atomic(0)
    }

    private func run(sendsAtOnce: Bool) throws -> Result {
        var options = NATSOptions(urls: [nats.url], name: "bare")
        options.sendsAtOnce = sendsAtOnce
        let connection = try NATSConnection(options)
        defer { connection.close() }
        let inbox = connection.makeInboxPrefix()
        let answers = Answers()
        let subscription = try connection.subscribe(inbox) { message in
            // {"stream":…} or {"error":…}; the type comes first in newer servers' errors.
            let isStored = message.withUnsafePayload { $0.count > 2 && $0[2] == UInt8(ascii: "s") }
            if isStored {
                answers.stored.add(1, ordering: .relaxed)
            } else {
                answers.failed.add(1, ordering: .relaxed)
            }
        }
        defer { subscription.cancel() }
        let messages = (0..<PostedRequests.probeCount).map { probe in
            let client = Array("probe-\(probe)".utf8)
            let partition = client.withUnsafeBytes {
                Partitioning.standard.partition(ofClient: $0)
            }
            return (
                subject: BusSubject.events(partition: partition),
                payload: Array(
                    PostedRequests.event(
                        probe: probe, index: 0, measuredAtMilliseconds: 1_703_347_200_000
                    ).utf8)
            )
        }
        let cpu = ProcessUsage.ownCPUSeconds
        let natsCPU = ProcessUsage.cpuSeconds(of: nats.processIdentifier)
        let start = ContinuousClock.now
        let end = start + .seconds(seconds)
        var sent = 0
        func inFlight() -> Int { sent - answers.stored.load(ordering: .relaxed) }
        while ContinuousClock.now < end, answers.failed.load(ordering: .relaxed) == 0 {
            while inFlight() >= window, ContinuousClock.now < end { usleep(100) }
            for _ in 0..<max(0, window - inFlight()) {
                let message = messages[sent % messages.count]
                try connection.publish(message.payload, to: message.subject, replyTo: inbox)
                sent += 1
            }
        }
        let limit = ContinuousClock.now + .seconds(30)
        while inFlight() > 0, ContinuousClock.now < limit { usleep(100) }
        guard inFlight() == 0 else {
            throw StoredStream.Failure(description: "\(inFlight()) bare publishes were not stored")
        }
        let elapsed = (ContinuousClock.now - start) / .seconds(1)
        let millions = Double(sent) / 1e6
        return Result(
            eventsPerSecond: Double(sent) / elapsed,
            cpuSecondsPerMillion: (ProcessUsage.ownCPUSeconds - cpu) / millions,
            natsCPUSecondsPerMillion: (ProcessUsage.cpuSeconds(of: nats.processIdentifier) - natsCPU)
                / millions)
    }
}

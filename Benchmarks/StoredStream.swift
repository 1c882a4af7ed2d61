import Blocks
import Bus
import Glibc
import NATSClient
import OwnedThreads
import PrivateServers
import Telemetry

/// A private nats-server whose events stream holds a workload.
final class StoredStream {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    let server: NATSServer
    let connector: NATSConnector
    private let connection: NATSConnection
    private let inbox = "_INBOX.\(NATSInbox.randomName())"
    private let subscription: NATSSubscription
    private let answers = Monitor(Answers())

    /// The sequence of the last message of each partition; 0 when it has none.
    private(set) var lastSequences = [UInt64](repeating: 0, count: Partitioning.standard.count)
    private(set) var eventCount = 0
    private(set) var byteCount = 0

    private struct Answers {
        var count = 0
        var failure: String?
        /// Called with partition and stream sequence.
        var onStored: (@Sendable (Int, UInt64) -> Void)?
    }

    /// Blocks without an acknowledgement; more would only wait inside the server.
    private static let inFlightMax = 64
    private static let answerLimit = Duration.seconds(30)

    init(folder: String) throws {
        server = try NATSServer(.init(dataFolder: "\(folder)/nats"))
        connector = NATSConnector(NATSOptions(urls: [server.url], name: "benchmarks"))
        connection = try connector.waitUntilConnected(within: .seconds(10))
        _ = try ensureStreams(StreamSettings(), on: JetStream(connection))
        subscription = try connection.subscribe("\(inbox).*") { [answers] message in
            let text = message.withUnsafePayload { String(decoding: $0, as: UTF8.self) }
            let partition = message.subject.split(separator: ".").last.flatMap { Int($0) } ?? 0
            answers.update { answers in
                answers.count += 1
                if let sequence = Self.sequence(in: text) {
                    answers.onStored?(partition, sequence)
                } else {
                    answers.failure = text
                }
            }
        }
    }

    /// `{"stream":"S", "seq":12}`
    private static func sequence(in answer: String) -> UInt64? {
        guard !answer.contains("\"error\""), let start = answer.firstRange(of: "\"seq\":") else {
            return nil
        }
        return UInt64(answer[start.upperBound...].prefix { $0.isNumber })
    }

    /// Publishes a workload and waits until all of it is stored.
    func fill(_ workload: Workload) throws {
        var failure: (any Error)?
        var sent = answers.withLock { $0.count }
        let already = sent
        eventCount += workload.forEachBlock { block, partition, _ in
            guard failure == nil else { return }
            do {
                sent += 1
                byteCount += block.count
                try publish(block, partition)
                if sent - already >= Self.inFlightMax { try awaitAnswers(sent - Self.inFlightMax) }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        try awaitAnswers(sent)
        for partition in lastSequences.indices {
            lastSequences[partition] =
                try JetStream(connection).lastMessage(
                    inStream: BusStream.events, subject: BusSubject.events(partition: partition)
                ).sequence
        }
    }

    func publish(_ block: [UInt8], _ partition: Int) throws {
        try connection.publish(
            block, to: BusSubject.events(partition: partition), replyTo: "\(inbox).\(partition)")
    }

    /// Says of each block from now on to which partition it belongs and where it was stored.
    func onStored(_ body: (@Sendable (Int, UInt64) -> Void)?) {
        answers.update { $0.onStored = body }
    }

    func awaitAnswers(_ count: Int) throws {
        let result = answers.wait(until: .now + Self.answerLimit) { answers -> Failure?? in
            if let failure = answers.failure { return .some(Failure(description: failure)) }
            return answers.count >= count ? .some(nil) : nil
        }
        guard let result else { throw Failure(description: "no acknowledgement from JetStream") }
        if let failure = result { throw failure }
    }

    /// Reads the whole stream and throws it away.
    ///
    /// - Returns: what was read, and the CPU seconds that took.
    func readAll() throws -> (bytes: Int, seconds: Double, cpuSeconds: Double) {
        let reader = StreamReader.events(connector: connector)
        defer { reader.stop() }
        let start = ContinuousClock.now
        let cpu = ProcessUsage.ownCPUSeconds
        var open = Set(lastSequences.indices.filter { lastSequences[$0] > 0 })
        for partition in open { reader.add(partition, from: 1) }
        var bytes = 0
        while !open.isEmpty {
            for message in reader.next(until: .now + .seconds(1)) {
                bytes += message.message.payloadByteCount
                if message.streamSequence >= lastSequences[message.tag] { open.remove(message.tag) }
            }
        }
        return (
            bytes, (ContinuousClock.now - start) / .seconds(1),
            ProcessUsage.ownCPUSeconds - cpu
        )
    }

    func stop() {
        subscription.cancel()
        connector.stop()
        try? server.kill()
    }
}

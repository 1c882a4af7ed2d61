internal import Blocks
internal import Bus
internal import EventParsing
internal import Failpoints
internal import Glibc
internal import NIOCore
internal import Telemetry

/// One request's body on its way to the bus.
struct Post {
    let caller: Caller
    /// Of a heartbeat, whose answer tells it.
    let headReadAtMicroseconds: Int64
    let receivedAtMilliseconds: Int64
    /// When the body was whole.
    let endedAt: NIODeadline
    /// As sent, bytes.
    let byteCount: Int
    let publisher: BlockPublisher
    /// Committed when anything was accepted, and not used otherwise. The publisher must be woken then.
    let receipt: PublishReceipt
}

/// Takes bodies of one event loop's connections from JSON to the bus.
///
/// Its buffers are reused, so that a good event costs no allocation here.
final class EventIntake {
    /// What a body of events came to before anything was published.
    struct Outcome {
        var isBatch = false
        /// Of a single good event.
        var eventID: UniqueID?
        var acceptedCount = 0
        /// The refused events and their positions in the body.
        var rejected: [(index: Int, rejection: EventRejection)] = []
    }

    /// What became of a post.
    struct Result {
        enum Step {
            case refused(Answer)
            /// The answer for when the receipt says that everything is durable.
            case published(() -> Answer)
        }

        let step: Step
        /// Of the first good event; only when an access log wants it.
        var client: String?
    }

    private let api: API
    private let parser: EventParser
    private let heartbeatParser = HeartbeatParser()
    private var accepted: [EventFields] = []
    private var partitions: [Int] = []
    private var shares: [ClientShare] = []

    init(_ api: API) {
        self.api = api
        parser = EventParser(
            eventCountMax: api.configuration.batchEventsMax,
            eventBytesMax: api.configuration.eventBytesMax)
    }

    /// Parses, validates and publishes the events of `body`.
    func post(_ body: inout ByteBuffer, as form: EventParser.Form, _ post: Post) -> Result {
        let rules = EventRules(
            nowMilliseconds: post.receivedAtMilliseconds,
            retentionMilliseconds: api.configuration.retentionMilliseconds)
        defer {
            // They point into the body.
            accepted.removeAll(keepingCapacity: true)
            partitions.removeAll(keepingCapacity: true)
            shares.removeAll(keepingCapacity: true)
        }
        return withPaddedBody(&body) { storage, byteCount in
            let outcome: Outcome
            do throws(EventRejection) {
                let parsed = try parser.parse(storage, byteCount: byteCount, as: form)
                outcome = validate(parsed, rules, post)
            } catch {
                return Result(step: .refused(refusal(error)))
            }
            failpoint(.ingestParsed)
            for (_, rejection) in outcome.rejected { api.metrics.countRejection(rejection.code) }
            let client =
                api.configuration.accessLogFile == nil
                ? nil : accepted.first.map { String(decoding: $0.clientID, as: UTF8.self) }
            guard outcome.acceptedCount > 0 else {
                let answer = Answer(
                    outcome, receivedAtMilliseconds: post.receivedAtMilliseconds)
                return Result(step: .refused(answer), client: client)
            }
            if let excess = charge(post) {
                return Result(step: .refused(Answer(excess)), client: client)
            }
            publish(to: post.publisher, post.receipt)
            failpoint(.ingestEnqueued)
            let whenStored = { [metrics = api.metrics] in
                metrics.countDurable(
                    eventCount: outcome.acceptedCount, after: .now() - post.endedAt)
                return Answer(outcome, receivedAtMilliseconds: post.receivedAtMilliseconds)
            }
            return Result(step: .published(whenStored), client: client)
        }
    }

    /// Parses and publishes a heartbeat.
    func postHeartbeat(
        _ body: inout ByteBuffer, _ post: Post, from sourceAddress: String?
    ) -> Result {
        withPaddedBody(&body) { storage, byteCount in
            var heartbeat: Heartbeat
            do throws(EventRejection) {
                heartbeat = try heartbeatParser.parse(
                    storage, byteCount: byteCount, mayPost: { post.caller.scope.contains($0) })
            } catch {
                return Result(step: .refused(refusal(error)))
            }
            let client = heartbeat.clientID.text
            shares = [ClientShare(name: XXHash64.hash(client), eventCount: 1)]
            defer { shares.removeAll(keepingCapacity: true) }
            if let excess = charge(post) {
                return Result(step: .refused(Answer(excess)), client: client)
            }
            heartbeat.receivedAtMilliseconds = post.receivedAtMilliseconds
            heartbeat.sourceAddress = sourceAddress
            // A refusal is in the receipt's outcome as well.
            try? post.publisher.publishHeartbeat(
                HeartbeatParser.encode(heartbeat), to: post.receipt)
            post.publisher.commit(post.receipt, wakes: false)
            let whenStored = { [metrics = api.metrics] in
                metrics.countDurableHeartbeat(after: .now() - post.endedAt)
                return Answer.heartbeat(
                    receivedAtMilliseconds: post.receivedAtMilliseconds,
                    headReadAtMicroseconds: post.headReadAtMicroseconds)
            }
            return Result(step: .published(whenStored), client: client)
        }
    }

    private func refusal(_ rejection: EventRejection) -> Answer {
        api.metrics.countRejection(rejection.code)
        return Answer(rejection)
    }

    private func charge(_ post: Post) -> RateExcess? {
        let excess = api.rates.charge(
            post.caller, shares, byteCount: post.byteCount,
            at: Int64(clamping: NIODeadline.now().uptimeNanoseconds))
        if excess != nil { api.metrics.countRejection(.rateLimitExceeded) }
        return excess
    }

    private func withPaddedBody<Result>(
        _ body: inout ByteBuffer, _ action: (UnsafeMutableRawBufferPointer, Int) -> Result
    ) -> Result {
        body.reserveCapacity(minimumWritableBytes: EventParser.paddingByteCount)
        let start = body.readerIndex
        let byteCount = body.readableBytes
        return body.withVeryUnsafeMutableBytes { bytes in
            action(UnsafeMutableRawBufferPointer(rebasing: bytes[start...]), byteCount)
        }
    }

    private func validate(_ body: EventParser.Body, _ rules: EventRules, _ post: Post) -> Outcome {
        let scope = post.caller.scope
        let partitionCount = UInt64(post.publisher.settings.partitioning.count)
        var outcome = Outcome(isBatch: body.isBatch)
        // Most bodies are of one client: it is looked up once. The hash finds its partition and its rates.
        var client = UnsafeRawBufferPointer(start: nil, count: 0)
        var name: UInt64 = 0
        for index in 0..<body.eventCount {
            do throws(EventRejection) {
                let fields = try parser.event(index, rules: rules) { next in
                    if Self.areEqual(next, client) { return true }
                    guard scope.contains(next) else { return false }
                    client = next
                    name = XXHash64.hash(next)
                    return true
                }
                partitions.append(Int(name % partitionCount))
                accepted.append(fields)
                count(name)
            } catch {
                outcome.rejected.append((index, error))
            }
        }
        outcome.acceptedCount = accepted.count
        if !body.isBatch { outcome.eventID = accepted.first?.id }
        return outcome
    }

    private static func areEqual(
        _ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer
    ) -> Bool {
        guard let start = a.baseAddress, let other = b.baseAddress else { return false }
        return a.count == b.count && memcmp(start, other, a.count) == 0
    }

    /// One more event of a client; most bodies are of one. A client that comes again after others is charged again.
    private func count(_ name: UInt64) {
        if let last = shares.indices.last, shares[last].name == name {
            shares[last].eventCount += 1
        } else {
            shares.append(ClientShare(name: name, eventCount: 1))
        }
    }

    /// Appends neighbours of one partition under one lock: mostly the whole body.
    private func publish(to publisher: BlockPublisher, _ receipt: PublishReceipt) {
        var start = 0
        while start < accepted.count {
            let partition = partitions[start]
            let end = partitions[start...].firstIndex { $0 != partition } ?? accepted.count
            var next = start
            do throws(PublishError) {
                try publisher.append(partition: partition, to: receipt) { builder in
                    while next < end {
                        guard builder.append(accepted[next]) else { return false }
                        next += 1
                    }
                    return true
                }
            } catch {
                // The receipt remembers it, and the whole request fails by it.
                break
            }
            start = end
        }
        publisher.commit(receipt, wakes: false)
    }
}

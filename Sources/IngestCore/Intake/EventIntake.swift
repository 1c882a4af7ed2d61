internal import Blocks
internal import Bus
internal import EventParsing
internal import Failpoints
internal import NIOCore
internal import Telemetry

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

    private let parser: EventParser
    private let heartbeatParser = HeartbeatParser()
    private let retentionMilliseconds: Int64
    private var accepted: [EventFields] = []
    private var partitions: [Int] = []

    init(configuration: IngestConfiguration) {
        parser = EventParser(
            eventCountMax: configuration.batchEventsMax,
            eventBytesMax: configuration.eventBytesMax)
        retentionMilliseconds = configuration.retentionMilliseconds
    }

    /// Parses, validates and publishes the events of `body`.
    ///
    /// - Parameter receipt: Committed when any event was accepted, and not used otherwise.
    /// - Throws: Why nothing of the body can be used.
    func post(
        _ body: inout ByteBuffer, as form: EventParser.Form, scope: ClientScope,
        receivedAtMilliseconds: Int64, to publisher: BlockPublisher, receipt: PublishReceipt
    ) throws(EventRejection) -> Outcome {
        let rules = EventRules(
            nowMilliseconds: receivedAtMilliseconds, retentionMilliseconds: retentionMilliseconds)
        defer {
            // They point into the body.
            accepted.removeAll(keepingCapacity: true)
            partitions.removeAll(keepingCapacity: true)
        }
        let result = withPaddedBody(&body) { storage, byteCount in
            Result { () throws(EventRejection) in
                let parsed = try parser.parse(storage, byteCount: byteCount, as: form)
                let outcome = validate(parsed, rules, scope, publisher.settings.partitioning)
                failpoint(.ingestParsed)
                if outcome.acceptedCount > 0 { publish(to: publisher, receipt) }
                return outcome
            }
        }
        return try result.get()
    }

    /// Parses and publishes a heartbeat.
    ///
    /// - Parameter receipt: Committed unless the heartbeat is refused.
    func postHeartbeat(
        _ body: inout ByteBuffer, scope: ClientScope, receivedAtMilliseconds: Int64,
        sourceAddress: String?, to publisher: BlockPublisher, receipt: PublishReceipt
    ) throws(EventRejection) {
        let result = withPaddedBody(&body) { storage, byteCount in
            Result { () throws(EventRejection) in
                try heartbeatParser.parse(
                    storage, byteCount: byteCount, mayPost: { scope.contains($0) })
            }
        }
        var heartbeat = try result.get()
        heartbeat.receivedAtMilliseconds = receivedAtMilliseconds
        heartbeat.sourceAddress = sourceAddress
        // A refusal is in the receipt's outcome as well.
        try? publisher.publishHeartbeat(HeartbeatParser.encode(heartbeat), to: receipt)
        publisher.commit(receipt)
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

    private func validate(
        _ body: EventParser.Body, _ rules: EventRules, _ scope: ClientScope,
        _ partitioning: Partitioning
    ) -> Outcome {
        var outcome = Outcome(isBatch: body.isBatch)
        for index in 0..<body.eventCount {
            do throws(EventRejection) {
                let fields = try parser.event(index, rules: rules) { scope.contains($0) }
                partitions.append(partitioning.partition(ofClient: fields.clientID))
                accepted.append(fields)
            } catch {
                outcome.rejected.append((index, error))
            }
        }
        outcome.acceptedCount = accepted.count
        if !body.isBatch { outcome.eventID = accepted.first?.id }
        return outcome
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
        publisher.commit(receipt)
    }
}

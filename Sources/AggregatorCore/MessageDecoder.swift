internal import Blocks
internal import EventParsing
package import Telemetry
internal import Windowing

/// A message of the log as what it holds.
struct DecodedMessage {
    enum Content {
        /// Events, and those of a JSON message that cannot be counted.
        case events(ValidatedBlock, rejected: [RejectedEvent])
        case unreadable(reason: String, detail: String)
    }

    struct RejectedEvent {
        /// The event's position in the message.
        let index: Int
        let reason: String
        let detail: String
    }

    let source: LogMessage
    let content: Content

    init(_ source: LogMessage, _ content: Content) {
        self.source = source
        self.content = content
    }

    var position: PartitionState.Position { source.position }

    var eventCount: Int {
        if case .events(let block, _) = content { block.eventCount } else { 0 }
    }
}

/// Turns messages into blocks: those of `ingest`, and plain JSON that any NATS client may publish.
///
/// Serves one thread at a time.
package final class MessageDecoder {
    private let partitioning: Partitioning
    private let parser = EventParser(
        eventCountMax: jsonEventCountMax, eventBytesMax: jsonEventBytesMax)

    package init(partitioning: Partitioning) {
        self.partitioning = partitioning
    }

    func decode(_ message: LogMessage) -> DecodedMessage {
        DecodedMessage(message, content(of: message))
    }

    private func content(of message: LogMessage) -> DecodedMessage.Content {
        do throws(BlockError) {
            if message.payload.withUnsafeBytes({ BlockReader.claims($0) }) {
                let block = try ValidatedBlock(message.payload)
                try block.withReader { reader throws(BlockError) in
                    try checkPartition(of: reader, expected: message.partition)
                }
                return .events(block, rejected: [])
            }
            return try eventsOfJSON(message)
        } catch {
            return .unreadable(reason: error.reason, detail: "\(error)")
        }
    }

    /// A client's events belong to one partition; on another they would give its rows two writers.
    private func checkPartition(of block: BlockReader, expected: Int) throws(BlockError) {
        guard block.partition == expected else {
            throw .wrongPartition(expected: expected, actual: block.partition)
        }
        for index in 0..<block.originCount {
            let client = block.string(block.origin(index).client)
            let actual = partitioning.partition(ofClient: client)
            guard actual == expected else {
                throw .wrongPartition(expected: expected, actual: actual)
            }
        }
    }

    /// Events in the form of the HTTP API, received when the broker stored them.
    private func eventsOfJSON(
        _ message: LogMessage
    ) throws(BlockError) -> DecodedMessage.Content {
        var storage = message.payload
        storage.append(contentsOf: repeatElement(0, count: EventParser.paddingByteCount))
        let rules = EventRules(
            nowMilliseconds: message.position.brokerMilliseconds,
            retentionMilliseconds: EventLimits.retentionMillisecondsDefault)
        var builder = BlockBuilder(
            partition: message.partition, producer: .zero, byteCountMax: BlockFormat.byteCountMax)
        var rejected: [DecodedMessage.RejectedEvent] = []
        var refusal: EventRejection?
        storage.withUnsafeMutableBytes { bytes in
            do throws(EventRejection) {
                let body = try parser.parse(bytes, byteCount: message.payload.count, as: .json)
                for index in 0..<body.eventCount {
                    do throws(EventRejection) {
                        let fields = try parser.event(index, rules: rules) { client in
                            partitioning.partition(ofClient: client) == message.partition
                        }
                        guard builder.append(fields) else {
                            throw EventRejection(.payloadTooLarge, "the message is too large")
                        }
                    } catch {
                        rejected.append(
                            .init(
                                index: index, reason: error.code.rawValue,
                                detail: error.description))
                    }
                }
            } catch {
                refusal = error
            }
        }
        if let refusal {
            return .unreadable(reason: refusal.code.rawValue, detail: refusal.description)
        }
        return .events(try ValidatedBlock(builder.seal(blockNumber: 0)), rejected: rejected)
    }
}

/// A JSON message is at most NATS's largest payload; these bounds only keep one message from taking all memory.
private let jsonEventCountMax = 100_000
private let jsonEventBytesMax = 64 << 10

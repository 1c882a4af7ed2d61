package import Blocks
internal import EventParsing
package import Telemetry

/// What a message of the log holds.
package enum MessageContent: Sendable {
    /// Events, and those of a JSON message that cannot be counted.
    case events(ValidatedBlock, rejected: [RejectedEvent])
    case unreadable(reason: String, detail: String)
}

/// An event of a JSON message that cannot be counted.
package struct RejectedEvent: Hashable, Sendable {
    /// The event's position in the message.
    package let index: Int
    /// A stable, machine-readable name.
    package let reason: String
    /// For people: what was found.
    package let detail: String
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

    /// What a message of `partition` holds, which the broker stored at `brokerMilliseconds`.
    package func decode(
        _ payload: [UInt8], partition: Int, brokerMilliseconds: Int64
    ) -> MessageContent {
        do throws(BlockError) {
            if payload.withUnsafeBytes({ BlockReader.claims($0) }) {
                let block = try ValidatedBlock(payload)
                try block.withReader { reader throws(BlockError) in
                    try checkPartition(of: reader, expected: partition)
                }
                return .events(block, rejected: [])
            }
            return try eventsOfJSON(payload, partition, brokerMilliseconds)
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
        _ payload: [UInt8], _ partition: Int, _ brokerMilliseconds: Int64
    ) throws(BlockError) -> MessageContent {
        var storage = payload
        storage.append(contentsOf: repeatElement(0, count: EventParser.paddingByteCount))
        let rules = EventRules(
            nowMilliseconds: brokerMilliseconds,
            retentionMilliseconds: EventLimits.retentionMillisecondsDefault)
        var builder = BlockBuilder(
            partition: partition, producer: .zero, byteCountMax: BlockFormat.byteCountMax)
        var rejected: [RejectedEvent] = []
        var refusal: EventRejection?
        storage.withUnsafeMutableBytes { bytes in
            do throws(EventRejection) {
                let body = try parser.parse(bytes, byteCount: payload.count, as: .json)
                for index in 0..<body.eventCount {
                    do throws(EventRejection) {
                        let fields = try parser.event(index, rules: rules) { client in
                            partitioning.partition(ofClient: client) == partition
                        }
                        guard builder.append(fields) else {
                            throw EventRejection(.payloadTooLarge, "the message is too large")
                        }
                    } catch {
                        rejected.append(
                            RejectedEvent(
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

internal import Blocks
internal import Synchronization
package import Telemetry

/// Turns a plain JSON message of the bus into a block, so that any NATS client can publish events.
///
/// A message is one object or an array, and good only as a whole: nobody waits for an answer about
/// one of its events. Whether its clients belong to its subject's partition is for the reader of
/// the block to check.
package final class PlainMessageParser: Sendable {
    private struct State {
        let parser: EventParser
        var storage: [UInt8] = []
    }

    private let state: Mutex<State>
    private let retentionMilliseconds: Int64

    package init(
        retentionMilliseconds: Int64 = EventLimits.retentionMillisecondsDefault
    ) {
        self.retentionMilliseconds = retentionMilliseconds
        // A message holds no more than a block does.
        state = Mutex(
            State(
                parser: EventParser(
                    eventCountMax: Self.eventCountMax, eventBytesMax: EventParser.bodyBytesMax)))
    }

    /// Most events of one message.
    package static let eventCountMax = 65_536

    /// The bytes of a block with the events of `payload`.
    ///
    /// - Parameters:
    ///   - receivedAtMilliseconds: The time that counts as receipt: the broker's, so that reading the message
    ///     again gives the same block.
    ///   - producer: Names the block's maker; `blockNumber` its number.
    /// - Throws: The first thing that is wrong; its message says at which event.
    package func block(
        of payload: [UInt8], partition: Int, receivedAtMilliseconds: Int64, producer: UniqueID,
        blockNumber: UInt64
    ) throws(EventRejection) -> [UInt8] {
        let rules = EventRules(
            nowMilliseconds: receivedAtMilliseconds, retentionMilliseconds: retentionMilliseconds)
        return try state.withLock { state throws(EventRejection) in
            state.storage.removeAll(keepingCapacity: true)
            state.storage += payload
            state.storage += repeatElement(0, count: EventParser.paddingByteCount)
            let parser = state.parser
            var builder = BlockBuilder(
                partition: partition, producer: producer, byteCountMax: BlockFormat.byteCountMax)
            let outcome = unsafe state.storage.withUnsafeMutableBytes { storage in
                Result { () throws(EventRejection) in
                    let body = unsafe try parser.parse(storage, byteCount: payload.count, as: .json)
                    try Self.append(body, of: parser, rules: rules, to: &builder)
                }
            }
            try outcome.get()
            return builder.seal(blockNumber: blockNumber)
        }
    }

    private static func append(
        _ body: EventParser.Body, of parser: EventParser, rules: EventRules,
        to builder: inout BlockBuilder
    ) throws(EventRejection) {
        guard body.eventCount > 0 else {
            throw EventRejection(.invalidRequest, "the message holds no event")
        }
        for index in 0..<body.eventCount {
            do throws(EventRejection) {
                let fields = unsafe try parser.event(index, rules: rules) { _ in true }
                guard unsafe builder.append(fields) else {
                    throw EventRejection(
                        .payloadTooLarge, "the message does not fit into one block")
                }
            } catch {
                throw EventRejection(
                    error.code, field: error.field, "event \(index): \(error.message)")
            }
        }
    }
}

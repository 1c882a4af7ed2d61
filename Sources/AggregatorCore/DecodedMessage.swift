internal import Blocks
internal import LogDecoding
internal import Windowing

/// A message of the log as what it holds.
struct DecodedMessage {
    let partition: Int
    let position: PartitionState.Position
    let payload: [UInt8]
    let content: MessageContent

    var eventCount: Int {
        if case .events(let block, _) = content { block.eventCount } else { 0 }
    }
}

extension MessageDecoder {
    func decode(_ message: LogMessage) -> DecodedMessage {
        DecodedMessage(
            partition: message.partition, position: message.position, payload: message.payload,
            content: decode(
                message.payload, partition: message.partition,
                brokerMilliseconds: message.position.brokerMilliseconds))
    }
}

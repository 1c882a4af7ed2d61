internal import Blocks
internal import LogDecoding
internal import Windowing

/// A message of the log with what it holds.
struct DecodedMessage {
    let source: LogMessage
    let content: MessageContent

    init(_ source: LogMessage, _ content: MessageContent) {
        self.source = source
        self.content = content
    }

    var position: PartitionState.Position { source.position }

    var eventCount: Int {
        if case .events(let block, _) = content { block.eventCount } else { 0 }
    }
}

extension MessageDecoder {
    func decode(_ message: LogMessage) -> DecodedMessage {
        DecodedMessage(
            message,
            decode(
                message.payload, partition: message.partition,
                brokerMilliseconds: message.position.brokerMilliseconds))
    }
}

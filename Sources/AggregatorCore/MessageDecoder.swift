internal import Blocks
package import Telemetry
internal import Windowing

/// A message of the log as what it holds.
struct DecodedMessage {
    enum Content {
        case block(ValidatedBlock)
        case unreadable(reason: String, detail: String)
    }

    let partition: Int
    let position: PartitionState.Position
    let payload: [UInt8]
    let content: Content

    var eventCount: Int {
        if case .block(let block) = content { block.eventCount } else { 0 }
    }
}

/// Turns messages into blocks: those of `ingest`, and plain JSON that any NATS client may publish.
package struct MessageDecoder: Sendable {
    /// What a plain JSON message came to.
    package enum JSONOutcome: Sendable {
        case block([UInt8])
        case unreadable(reason: String, detail: String)
    }

    private let partitioning: Partitioning
    private let makeBlock: @Sendable (LogMessage) -> JSONOutcome

    /// - Parameter makeBlock: Turns a JSON message into the bytes of a block.
    package init(
        partitioning: Partitioning, makeBlock: @escaping @Sendable (LogMessage) -> JSONOutcome
    ) {
        self.partitioning = partitioning
        self.makeBlock = makeBlock
    }

    func decode(_ message: LogMessage) -> DecodedMessage {
        DecodedMessage(
            partition: message.partition, position: message.position, payload: message.payload,
            content: content(of: message))
    }

    private func content(of message: LogMessage) -> DecodedMessage.Content {
        let bytes: [UInt8]
        if message.payload.withUnsafeBytes({ BlockReader.claims($0) }) {
            bytes = message.payload
        } else {
            switch makeBlock(message) {
            case .block(let made): bytes = made
            case .unreadable(let reason, let detail):
                return .unreadable(reason: reason, detail: detail)
            }
        }
        do throws(BlockError) {
            let block = try ValidatedBlock(bytes)
            try block.withReader { reader throws(BlockError) in
                try checkPartition(of: reader, expected: message.partition)
            }
            return .block(block)
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
}

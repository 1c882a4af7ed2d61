import Bus
import NATSClient
import TestKit

/// Publishes what is no block and no JSON, as any NATS client may.
struct Garbage {
    private let connector: NATSConnector
    private var random: SeededGenerator

    init(_ connector: NATSConnector, seed: UInt64) {
        self.connector = connector
        random = SeededGenerator(seed: seed)
    }

    /// Whether a message was handed to a server; it may be lost on the way.
    @discardableResult
    mutating func publish(partitionCount: Int = 16) -> Bool {
        guard connector.isConnected, let connection = connector.connection else { return false }
        let partition = Int.random(in: 0..<partitionCount, using: &random)
        let bytes = (0..<Int.random(in: 1...100, using: &random)).map { _ in
            UInt8.random(in: 0x80...0xFF, using: &random)
        }
        return (try? connection.publish(bytes, to: BusSubject.events(partition: partition))) != nil
    }
}

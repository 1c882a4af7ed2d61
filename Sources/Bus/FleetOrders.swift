internal import FoundationEssentials
package import NATSClient

/// An order to all probes to measure nothing, or the end of one.
package struct SuppressionOrder: Sendable, Equatable, Codable {
    /// Whether nothing is to be measured.
    package let isActive: Bool
    /// Why, for people.
    package let reason: String?
    /// When it was given, Unix milliseconds of whoever gave it.
    package let orderedAtMilliseconds: Int64

    package init(isActive: Bool, reason: String?, orderedAtMilliseconds: Int64) {
        self.isActive = isActive
        self.reason = reason
        self.orderedAtMilliseconds = orderedAtMilliseconds
    }

    private enum CodingKeys: String, CodingKey {
        case isActive = "active"
        case reason
        case orderedAtMilliseconds = "ts_ms"
    }
}

/// A message where an order should be.
package struct UnreadableOrder: Error, Sendable, CustomStringConvertible {
    let sequence: UInt64

    package var description: String {
        "message \(sequence) of \(BusStream.fleet) is no order; 'qoectl fleet' gives a new one"
    }
}

/// Orders to the whole fleet, in a small stream of their own, so that every `ingest` hands on the same ones.
///
/// The newest message of a subject is in force. Every call blocks.
package struct FleetOrders: Sendable {
    private let connection: NATSConnection
    private let jetStream: JetStream
    private let timeout: Duration

    /// Older orders are kept for whoever asks what was ordered when.
    private static let messageCountMax: Int64 = 64

    package init(_ connection: NATSConnection, timeout: Duration = .seconds(5)) {
        self.connection = connection
        self.timeout = timeout
        jetStream = JetStream(connection, timeout: timeout)
    }

    /// The order in force; nil when there never was one.
    ///
    /// - Throws: ``NATSClient/NATSError`` when NATS cannot be asked; ``UnreadableOrder`` for a message that is none,
    ///   which neither stops anything nor ends a stop.
    package func suppression() throws -> SuppressionOrder? {
        let stored: StoredMessage
        do throws(NATSError) {
            stored = try jetStream.lastMessage(
                inStream: BusStream.fleet, subject: BusSubject.fleetSuppression)
        } catch {
            let isMissing =
                JetStreamErrorCode.streamNotFound ~= error
                || JetStreamErrorCode.messageNotFound ~= error
            guard isMissing else { throw error }
            return nil
        }
        let order = stored.message.withUnsafePayload {
            try? JSONDecoder().decode(SuppressionOrder.self, from: Data($0))
        }
        guard let order else { throw UnreadableOrder(sequence: stored.sequence) }
        return order
    }

    /// Puts an order in force; returns when it is on disk.
    package func give(_ order: SuppressionOrder) throws {
        _ = try ensureSmallStream(
            named: BusStream.fleet, subject: BusSubject.fleetSuppression,
            messageCountMax: Self.messageCountMax, on: jetStream)
        // Of texts and whole numbers, so encoding cannot fail.
        let payload = (try? JSONEncoder().encode(order)).map { Array($0) } ?? []
        _ = try publishConfirmed(
            payload, to: BusSubject.fleetSuppression, stream: BusStream.fleet, over: connection,
            within: timeout)
    }
}

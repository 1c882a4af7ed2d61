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

/// Orders to the whole fleet, in a small stream of their own, so that every `ingest` hands on the same ones.
///
/// The newest message of a subject is in force. Every call blocks.
package struct FleetOrders: Sendable {
    private let connection: NATSConnection
    private let jetStream: JetStream
    private let timeout: Duration

    /// Older orders are kept for whoever asks what was ordered when.
    private static let messagesPerSubjectMax: Int64 = 64

    package init(_ connection: NATSConnection, timeout: Duration = .seconds(5)) {
        self.connection = connection
        self.timeout = timeout
        jetStream = JetStream(connection, timeout: timeout)
    }

    /// The order in force; nil when there never was one.
    ///
    /// - Throws: ``NATSClient/NATSError`` when NATS cannot be asked.
    package func suppression() throws(NATSError) -> SuppressionOrder? {
        do throws(NATSError) {
            let stored = try jetStream.lastMessage(
                inStream: BusStream.fleet, subject: BusSubject.fleetSuppression)
            // What is not an order orders nothing.
            return stored.message.withUnsafePayload {
                try? JSONDecoder().decode(SuppressionOrder.self, from: Data($0))
            }
        } catch {
            let isMissing =
                JetStreamErrorCode.streamNotFound ~= error
                || JetStreamErrorCode.messageNotFound ~= error
            guard isMissing else { throw error }
            return nil
        }
    }

    /// Puts an order in force; returns when it is on disk.
    package func give(_ order: SuppressionOrder) throws {
        try ensureStream()
        // Of texts and whole numbers, so encoding cannot fail.
        let payload = (try? JSONEncoder().encode(order)).map { Array($0) } ?? []
        _ = try publishConfirmed(
            payload, to: BusSubject.fleetSuppression, stream: BusStream.fleet, over: connection,
            within: timeout)
    }

    private func ensureStream() throws(NATSError) {
        do throws(NATSError) {
            _ = try jetStream.stream(named: BusStream.fleet)
            return
        } catch {
            guard JetStreamErrorCode.streamNotFound ~= error else { throw error }
        }
        var wanted = StreamConfiguration(
            name: BusStream.fleet, subjects: [BusSubject.fleetSuppression])
        wanted.maxMessagesPerSubject = Self.messagesPerSubjectMax
        wanted.maxBytes = 1 << 20
        wanted.discard = .old
        // As many copies as the events have.
        wanted.replicas =
            (try? jetStream.stream(named: BusStream.events))?.configuration.replicas ?? 1
        do throws(NATSError) {
            _ = try jetStream.createStream(wanted)
        } catch {
            guard JetStreamErrorCode.streamNameInUse ~= error else { throw error }
        }
    }
}

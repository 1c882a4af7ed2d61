internal import FoundationEssentials
package import NATSClient
internal import Synchronization

/// Remembers, outside of the databases, how often a primary was promoted.
///
/// A promotion starts a new timeline, and the primary that was left behind does not know of it: it takes writes
/// that are lost, and every program that connects to it first believes it. So the highest timeline that any
/// program has seen of a database cluster is kept in a small stream, and a lower one is refused.
package final class TimelineWitness: Sendable {
    /// Why a primary is not to be written to, or not yet.
    package enum Refusal: Error, Sendable, CustomStringConvertible {
        /// A newer primary was seen.
        case leftBehind(timeline: Int64, highest: Int64)
        /// NATS cannot be asked now.
        case unknown(String)

        package var description: String {
            switch self {
            case .leftBehind(let timeline, let highest):
                "this server is on timeline \(timeline), a newer primary was seen on timeline "
                    + "\(highest): it was left behind by a failover; stop it, and make it a "
                    + "replica of the new primary (pg_rewind or pg_basebackup)"
            case .unknown(let reason):
                "cannot ask NATS whether a newer primary was seen: \(reason)"
            }
        }
    }

    private struct Sighting: Codable {
        var systemIdentifier: Int64
        var timeline: Int64

        enum CodingKeys: String, CodingKey {
            case systemIdentifier = "system_identifier"
            case timeline
        }
    }

    private let connector: NATSConnector
    /// By system identifier; what this process has seen holds while NATS is away.
    private let highest = Mutex<[Int64: Int64]>([:])

    /// Old sightings make room for new ones; they are at most one per program and promotion.
    private static let sightingCountMax: Int64 = 256

    /// - Parameter connector: Stays the caller's.
    package init(_ connector: NATSConnector) {
        self.connector = connector
    }

    /// Records a primary, or refuses it. Blocks; called at every new connection to a database.
    ///
    /// - Parameters:
    ///   - systemIdentifier: The database cluster, the same on all its replicas.
    ///   - timeline: From 1; one more at every promotion.
    package func check(systemIdentifier: Int64, timeline: Int64) throws(Refusal) {
        var known = highest.withLock { $0[systemIdentifier] ?? 0 }
        if known <= timeline {
            known = max(known, try recorded(systemIdentifier))
            highest.withLock { $0[systemIdentifier] = max($0[systemIdentifier] ?? 0, known) }
        }
        guard timeline >= known else {
            throw .leftBehind(timeline: timeline, highest: known)
        }
        guard timeline > known else { return }
        try record(Sighting(systemIdentifier: systemIdentifier, timeline: timeline))
        highest.withLock { $0[systemIdentifier] = max($0[systemIdentifier] ?? 0, timeline) }
    }

    private func recorded(_ systemIdentifier: Int64) throws(Refusal) -> Int64 {
        let connection = try connection()
        do throws(NATSError) {
            let jetStream = JetStream(connection)
            let stream = try ensureSmallStream(
                named: BusStream.control, subject: BusSubject.databaseTimeline,
                messageCountMax: Self.sightingCountMax, on: jetStream)
            var highest: Int64 = 0
            guard stream.lastSequence >= stream.firstSequence, stream.messageCount > 0 else {
                return 0
            }
            for sequence in stream.firstSequence...stream.lastSequence {
                let found = try sighting(sequence, jetStream)
                if let found, found.systemIdentifier == systemIdentifier {
                    highest = max(highest, found.timeline)
                }
            }
            return highest
        } catch {
            throw .unknown("\(error)")
        }
    }

    private func connection() throws(Refusal) -> NATSConnection {
        guard let connection = connector.connection, connector.isConnected else {
            throw .unknown("there is no connection to it")
        }
        return connection
    }

    private func sighting(
        _ sequence: UInt64, _ jetStream: JetStream
    ) throws(NATSError) -> Sighting? {
        do throws(NATSError) {
            let message = try jetStream.message(inStream: BusStream.control, sequence: sequence)
            return message.message.withUnsafePayload {
                try? JSONDecoder().decode(Sighting.self, from: Data($0))
            }
        } catch {
            guard JetStreamErrorCode.messageNotFound ~= error else { throw error }
            return nil
        }
    }

    private func record(_ sighting: Sighting) throws(Refusal) {
        let connection = try connection()
        // Encoding whole numbers cannot fail.
        let payload = (try? JSONEncoder().encode(sighting)).map { Array($0) } ?? []
        let answer: PublishAnswer
        do throws(NATSError) {
            let message = try connection.request(
                BusSubject.databaseTimeline, payload: payload, timeout: .seconds(5))
            answer = message.withUnsafePayload {
                PublishAnswer(
                    $0, status: message.header("Status"), stream: BusStream.control)
            }
        } catch {
            throw .unknown("\(error)")
        }
        switch answer {
        case .stored: return
        case .failed(let error): throw .unknown("\(error)")
        case .unreadable: throw .unknown("its answer cannot be read")
        }
    }
}

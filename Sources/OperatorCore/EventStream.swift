internal import Bus
package import NATSClient
package import Telemetry

/// The stream of events, for whoever only looks at it.
package struct EventStream {
    package let connection: NATSConnection
    package let jetStream: JetStream
    package let information: StreamInformation
    package let partitioning: Partitioning

    /// How long to try before NATS counts as away.
    private static let connectLimit = Duration.seconds(5)

    /// Finds the stream. Blocks.
    package init(_ connector: NATSConnector) throws(OperatorError) {
        do throws(NATSError) {
            connection = try connector.waitUntilConnected(within: Self.connectLimit)
        } catch {
            throw OperatorError("cannot reach NATS: \(error); see --nats-url")
        }
        jetStream = JetStream(connection)
        do throws(NATSError) {
            information = try jetStream.stream(named: BusStream.events)
        } catch {
            guard JetStreamErrorCode.streamNotFound ~= error else {
                throw OperatorError("cannot look at the stream \(BusStream.events): \(error)")
            }
            throw OperatorError(
                "there is no stream \(BusStream.events) on this NATS: ingest makes it at its start; "
                    + "see --nats-url")
        }
        guard let found = recordedPartitioning(information.configuration) else {
            throw OperatorError(
                "the subjects of the stream \(BusStream.events) are not one per partition: "
                    + "it was not made by ingest")
        }
        partitioning = found
    }

    /// Whether the stream holds everything that was ever put into it.
    package var isWhole: Bool { information.firstSequence <= 1 }

    /// When the broker stored the oldest message, Unix milliseconds; nil when there is none.
    package func firstMilliseconds() throws(NATSError) -> Int64? {
        information.messageCount == 0 ? nil : try milliseconds(of: information.firstSequence)
    }

    private func milliseconds(of sequence: UInt64) throws(NATSError) -> Int64? {
        do throws(NATSError) {
            let message = try jetStream.message(inStream: BusStream.events, sequence: sequence)
            return message.timestampNanoseconds / 1_000_000
        } catch {
            let isGone = JetStreamErrorCode.messageNotFound ~= error || error.code == .notFound
            guard isGone else { throw error }
            return nil
        }
    }

    /// A sequence such that everything stored at or after `milliseconds` follows it; the first one when that
    /// is not to be found out.
    ///
    /// The broker's clock may have gone back by a little: the caller adds a margin.
    package func sequence(at milliseconds: Int64) throws(NATSError) -> UInt64 {
        var low = information.firstSequence
        var high = information.lastSequence &+ 1
        while low < high {
            let middle = low + (high - low) / 2
            // A hole in the stream says nothing about time: go to the safe side.
            guard let found = try self.milliseconds(of: middle), found < milliseconds else {
                high = middle
                continue
            }
            low = middle + 1
        }
        return low
    }
}

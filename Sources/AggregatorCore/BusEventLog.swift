internal import Bus
internal import NATSClient
internal import Windowing

/// The stream of events in JetStream.
final class BusEventLog: EventLog {
    private let connector: NATSConnector
    private let reader: StreamReader
    private var open: Set<Int> = []

    init(connector: NATSConnector) {
        self.connector = connector
        reader = .events(connector: connector)
    }

    func open(partition: Int, from sequence: UInt64) throws(EventLogError) {
        guard let connection = connector.connection, connector.isConnected else {
            throw EventLogError("there is no connection to NATS")
        }
        let stream: StreamInformation
        do throws(NATSError) {
            stream = try JetStream(connection).stream(named: BusStream.events)
        } catch {
            throw EventLogError("\(error)")
        }
        // A server would begin at its end, and what is published there from now on would be
        // skipped as if it had been counted.
        guard sequence <= stream.lastSequence &+ 1 else {
            throw EventLogError(
                "the stream \(BusStream.events) ends at \(stream.lastSequence), but everything "
                    + "before \(sequence) has been counted: it was restored from an older copy or "
                    + "made anew")
        }
        reader.add(partition, from: sequence)
        open.insert(partition)
    }

    func close(partition: Int) {
        reader.remove(partition)
        open.remove(partition)
    }

    func read(until deadline: ContinuousClock.Instant) throws(EventLogError) -> [LogMessage] {
        let messages = reader.next(until: deadline).map { message in
            LogMessage(
                partition: message.tag,
                position: PartitionState.Position(
                    sequence: message.streamSequence,
                    brokerMilliseconds: message.timestampNanoseconds / 1_000_000),
                payload: message.message.withUnsafePayload { Array($0) })
        }
        // Nothing may also mean that the stream is another one; what was read before that is good.
        guard messages.isEmpty else { return messages }
        for partition in open.sorted() {
            if let discontinuity = reader.position(of: partition)?.discontinuity {
                throw EventLogError("partition \(partition): \(discontinuity)")
            }
        }
        return []
    }

    func isCaughtUp(partition: Int) -> Bool {
        connector.isConnected && reader.position(of: partition)?.caughtUpAt != nil
    }

    /// Ends the subscription and its consumers.
    func stop() {
        reader.stop()
    }
}

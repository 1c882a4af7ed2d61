internal import Bus
internal import NATSClient
internal import Telemetry
internal import Windowing

/// A stream of JetStream as a log.
final class BusEventLog: EventLog {
    private let stream: String
    private let connector: NATSConnector
    private let reader: StreamReader
    private var open: Set<Int> = []

    private init(stream: String, connector: NATSConnector, reader: StreamReader) {
        self.stream = stream
        self.connector = connector
        self.reader = reader
    }

    /// The stream of events.
    static func events(_ connector: NATSConnector) -> BusEventLog {
        BusEventLog(
            stream: BusStream.events, connector: connector, reader: .events(connector: connector))
    }

    /// The stream of heartbeats, which is one partition, 0.
    static func heartbeats(_ connector: NATSConnector) -> BusEventLog {
        BusEventLog(
            stream: BusStream.heartbeats, connector: connector,
            reader: .heartbeats(connector: connector))
    }

    private func ask<Value>(
        _ body: (JetStream) throws(NATSError) -> Value
    ) throws(EventLogError) -> Value {
        guard let connection = connector.connection, connector.isConnected else {
            throw EventLogError("there is no connection to NATS")
        }
        do throws(NATSError) {
            return try body(JetStream(connection))
        } catch {
            throw EventLogError("\(error)")
        }
    }

    func extent() throws(EventLogError) -> LogExtent {
        try ask { jetStream throws(NATSError) in
            let found = try jetStream.stream(named: stream)
            return LogExtent(
                createdNanoseconds: found.createdNanoseconds, firstSequence: found.firstSequence,
                lastSequence: found.lastSequence)
        }
    }

    func anchor(at sequence: UInt64) throws(EventLogError) -> LogAnchor? {
        try ask { jetStream throws(NATSError) in
            try storedAnchor(at: sequence, inStream: stream, jetStream)
        }
    }

    func open(partition: Int, from sequence: UInt64) {
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

    func readingCount(of partition: Int) -> Int {
        reader.position(of: partition)?.readingCount ?? 0
    }

    func isCaughtUp(partition: Int) -> Bool {
        connector.isConnected && reader.position(of: partition)?.caughtUpAt != nil
    }

    /// Ends the subscription and its consumers.
    func stop() {
        reader.stop()
    }
}

/// The message under a sequence as an anchor, or nil when the stream has none there.
func storedAnchor(
    at sequence: UInt64, inStream stream: String, _ jetStream: JetStream
) throws(NATSError) -> LogAnchor? {
    do throws(NATSError) {
        let found = try jetStream.message(inStream: stream, sequence: sequence)
        return LogAnchor(
            sequence: sequence, brokerMilliseconds: found.timestampNanoseconds / 1_000_000,
            payloadHash: found.message.withUnsafePayload { XXHash64.hash($0, seed: 0) })
    } catch {
        guard JetStreamErrorCode.messageNotFound ~= error else { throw error }
        return nil
    }
}

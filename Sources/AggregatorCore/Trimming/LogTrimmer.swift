internal import Bus
internal import Failpoints
internal import Logging
internal import NATSClient
internal import Postgres
internal import Store
internal import Windowing

/// Makes room in the streams by ``LogTrimming``.
///
/// Blocking; used from one owned thread. Several instances may do this at once: each removes only what all
/// partitions have committed.
final class LogTrimmer {
    private let connector: NATSConnector
    private let database: StoreConnection
    private let metrics: AggregatorMetrics
    private let logger: Logger
    private let interval: Duration
    private var nextTrim: ContinuousClock.Instant

    init(
        connector: NATSConnector, database: StoreConnection, interval: Duration,
        metrics: AggregatorMetrics, logger: Logger
    ) {
        self.connector = connector
        self.database = database
        self.interval = interval
        self.metrics = metrics
        self.logger = logger
        nextTrim = ContinuousClock.now
    }

    /// Trims what is full, if it is time.
    func trimIfDue() {
        guard ContinuousClock.now >= nextTrim, let connection = connector.connection,
            connector.isConnected
        else { return }
        nextTrim = ContinuousClock.now + interval
        for stream in [BusStream.events, BusStream.heartbeats] {
            do {
                try trim(stream, JetStream(connection))
            } catch let error as NATSError where JetStreamErrorCode.streamNotFound ~= error {
                // ingest makes it.
            } catch {
                metrics.countTrimFailure()
                logger.warning(
                    "cannot trim a stream", metadata: ["stream": "\(stream)", "reason": "\(error)"])
            }
        }
    }

    private func trim(_ name: String, _ jetStream: JetStream) throws {
        let stream = try jetStream.stream(named: name)
        let extent = LogTrimming.Extent(
            firstSequence: stream.firstSequence, lastSequence: stream.lastSequence,
            byteCount: stream.byteCount, byteCountMax: stream.configuration.maxBytes)
        metrics.record(extent, ofStream: name)
        guard LogTrimming.isDue(extent) else { return }
        let (positions, trimmedBelow) = try database.perform { store throws(PostgresError) in
            (
                try store.logPositions(ofStream: name),
                try store.trimmedBelow(
                    ofStream: name, createdNanoseconds: stream.createdNanoseconds)
            )
        }
        guard try isTheirs(positions, stream, jetStream) else {
            // Sequences that were given out again would make what is new look as if it had been counted.
            logger.warning(
                "does not trim a stream that is not the one that was counted",
                metadata: ["stream": "\(name)"])
            return
        }
        let subjects = stream.configuration.subjects
        let newest = try newestSequences(of: subjects, in: name, jetStream)
        guard
            let sequence = LogTrimming.purgeBelow(
                extent, trimmedBelow: trimmedBelow, partitionCount: subjects.count,
                positions: positions, newest: newest)
        else {
            logger.warning(
                "a stream fills up with what is not in the tables yet",
                metadata: [
                    "stream": "\(name)", "bytes": "\(extent.byteCount)",
                    "limit": "\(extent.byteCountMax)",
                ])
            return
        }
        try database.perform { store throws(PostgresError) in
            try store.recordTrim(
                ofStream: name, createdNanoseconds: stream.createdNanoseconds, below: sequence)
        }
        failpoint(.aggregatorTrimRecorded)
        try jetStream.purgeStream(named: name, below: sequence)
        failpoint(.aggregatorTrimmed)
        metrics.countPurged(sequence &- extent.firstSequence, ofStream: name)
        logger.info("trimmed a stream", metadata: ["stream": "\(name)", "below": "\(sequence)"])
    }

    /// Whether the positions are of this stream: what every partition saw last is still there, or was removed.
    private func isTheirs(
        _ positions: [LogPosition], _ stream: StreamInformation, _ jetStream: JetStream
    ) throws(NATSError) -> Bool {
        for case let anchor? in positions.map(\.anchor)
        where anchor.sequence >= stream.firstSequence {
            let name = stream.configuration.name
            let stored = try storedAnchor(at: anchor.sequence, inStream: name, jetStream)
            guard stored == anchor else { return false }
        }
        return true
    }

    /// The newest sequence of each subject; one without messages has none.
    private func newestSequences(
        of subjects: [String], in stream: String, _ jetStream: JetStream
    ) throws(NATSError) -> [Int: UInt64] {
        var newest: [Int: UInt64] = [:]
        for (partition, subject) in subjects.enumerated() {
            newest[partition] = try newestSequence(of: subject, in: stream, jetStream)
        }
        return newest
    }

    private func newestSequence(
        of subject: String, in stream: String, _ jetStream: JetStream
    ) throws(NATSError) -> UInt64? {
        do throws(NATSError) {
            return try jetStream.lastMessage(inStream: stream, subject: subject).sequence
        } catch {
            guard JetStreamErrorCode.messageNotFound ~= error else { throw error }
            return nil
        }
    }
}

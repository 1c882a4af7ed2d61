internal import Bus
internal import EventParsing
internal import Logging
internal import NATSClient
internal import Postgres
internal import Store
internal import Telemetry
internal import Windowing

/// Folds the stream of heartbeats into `probes`: the newest of each probe, with the stream's progress in the
/// same transaction.
///
/// Runs on one thread, by calls of ``turn(until:)``.
final class HeartbeatWorker {
    private struct Owned {
        let ownership: PartitionOwnership
        var expectedSequence: UInt64
        var progress: PartitionProgress
        var heartbeats: [HeartbeatRow] = []
        var deadLetters: [DeadLetter] = []
        var nextFlush: ContinuousClock.Instant
        var leaseRenewedAt: ContinuousClock.Instant
    }

    private let reader: StreamReader
    private let database: StoreConnection
    private let owner: String
    private let lease: Duration
    private let flushInterval: Duration
    private let metrics: AggregatorMetrics
    private let logger: Logger
    private let decoder = HeartbeatDecoder()
    private var owned: Owned?
    private var retryAt = ContinuousClock.now
    /// The last failure that was logged as a warning, until the heartbeats are owned again.
    private var lastFailure: String?

    /// The most that waits for a flush; reading pauses there.
    private static let pendingCountMax = 10_000
    private static let retryInterval = Duration.seconds(1)

    init(
        connector: NATSConnector, database: StoreConnection, owner: String, lease: Duration,
        flushInterval: Duration, metrics: AggregatorMetrics, logger: Logger
    ) {
        reader = .heartbeats(connector: connector)
        self.database = database
        self.owner = owner
        self.lease = lease
        self.flushInterval = flushInterval
        self.metrics = metrics
        self.logger = logger
    }

    /// Acquires the stream if it is time, reads what has come, and flushes if it is time.
    func turn(until deadline: ContinuousClock.Instant) {
        do throws(TablesError) {
            try acquireIfDue()
            read(until: min(deadline, owned?.nextFlush ?? deadline))
            try flushIfDue()
        } catch {
            drop(after: error)
        }
    }

    /// Writes what is left and gives the stream back.
    func finish() {
        do throws(TablesError) {
            if owned != nil { try flush() }
            if let ownership = owned?.ownership {
                _ = try database.perform { store throws(PostgresError) in
                    try store.release(ownership)
                }
            }
        } catch {
            drop(after: error)
        }
        reader.stop()
    }

    private func acquireIfDue() throws(TablesError) {
        let now = ContinuousClock.now
        guard owned == nil, retryAt <= now else { return }
        retryAt = now + Self.retryInterval
        var random = SystemRandomNumberGenerator()
        let nonce = UniqueID.random(using: &random)
        let acquisition = try database.perform { store throws(PostgresError) in
            try store.acquirePartition(
                stream: BusStream.heartbeats, partition: 0, owner: owner, nonce: nonce,
                lease: lease)
        }
        guard case .acquired(let taken) = acquisition else { return }
        owned = Owned(
            ownership: taken.ownership, expectedSequence: taken.progress.committedSequence,
            progress: taken.progress, nextFlush: now + flushInterval, leaseRenewedAt: now)
        reader.add(0, from: taken.progress.committedSequence &+ 1)
        lastFailure = nil
        logger.info(
            "owns the heartbeats",
            metadata: ["committed_seq": "\(taken.progress.committedSequence)"])
    }

    private func drop(after error: TablesError) {
        metrics.count(error)
        let reason = "\(error)"
        // An outage is told once, not at every try.
        logger.log(
            level: reason == lastFailure ? .debug : .warning, "heartbeats begin anew",
            metadata: ["reason": "\(reason)"])
        lastFailure = reason
        reader.remove(0)
        owned = nil
        retryAt = ContinuousClock.now + Self.retryInterval
    }

    private func read(until deadline: ContinuousClock.Instant) {
        let messages = reader.next(until: deadline)
        guard owned != nil else { return }
        for message in messages {
            let position = PartitionState.Position(
                sequence: message.streamSequence,
                brokerMilliseconds: message.timestampNanoseconds / 1_000_000)
            take(message.message.withUnsafePayload { Array($0) }, at: position)
        }
    }

    private func take(_ payload: [UInt8], at position: PartitionState.Position) {
        guard position.sequence > owned?.progress.committedSequence ?? .max else { return }
        owned?.progress.committedSequence = position.sequence
        owned?.progress.committedBrokerMilliseconds = position.brokerMilliseconds
        owned?.progress.counters.messages &+= 1
        do throws(EventRejection) {
            owned?.heartbeats.append(try decoder.decode(payload, at: position))
            owned?.progress.counters.events &+= 1
            owned?.progress.counters.counted &+= 1
        } catch {
            owned?.progress.counters.deadLetters &+= 1
            owned?.deadLetters.append(
                DeadLetter(
                    sequence: position.sequence, index: -1, reason: error.code.rawValue,
                    detail: error.description,
                    payload: Array(payload.prefix(DeadLetter.payloadBytesMax))))
        }
    }

    private func flushIfDue() throws(TablesError) {
        guard let owned else { return }
        let isFull = owned.heartbeats.count + owned.deadLetters.count >= Self.pendingCountMax
        if isFull || owned.nextFlush <= ContinuousClock.now { try flush() }
    }

    private func flush() throws(TablesError) {
        guard var owned else { return }
        let now = ContinuousClock.now
        if owned.progress.committedSequence > owned.expectedSequence {
            owned.progress.replayFromSequence = owned.progress.committedSequence &+ 1
            let batch = HeartbeatBatch(
                expectedSequence: owned.expectedSequence, progress: owned.progress,
                heartbeats: owned.heartbeats, deadLetters: owned.deadLetters)
            let ownership = owned.ownership
            _ = try database.performFlush(partition: 0) { store throws(FlushError) in
                try store.upsertProbes(batch, by: ownership)
            }
            metrics.recordHeartbeats(
                owned.heartbeats.count, deadLetters: owned.deadLetters.count)
            owned.expectedSequence = owned.progress.committedSequence
            owned.heartbeats.removeAll(keepingCapacity: true)
            owned.deadLetters.removeAll()
            owned.leaseRenewedAt = now
        } else if now - owned.leaseRenewedAt > lease / 3 {
            let ownership = owned.ownership
            let isOurs = try database.perform { store throws(PostgresError) in
                try store.renew(ownership)
            }
            guard isOurs else { throw .fenced(partition: 0) }
            owned.leaseRenewedAt = now
        }
        owned.nextFlush = ContinuousClock.now + flushInterval
        self.owned = owned
    }
}

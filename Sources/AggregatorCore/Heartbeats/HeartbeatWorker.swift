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
        let logCreatedNanoseconds: Int64
        var expectedSequence: UInt64
        var progress: PartitionProgress
        /// Anchors up to the message read last.
        var trail: AnchorTrail
        /// The ``EventLog/readingCount(of:)`` for which the log was found to be the one that was read before.
        var verifiedReading: Int?
        var heartbeats: [HeartbeatRow] = []
        var deadLetters: [DeadLetter] = []
        var nextFlush: ContinuousClock.Instant
        var leaseRenewedAt: ContinuousClock.Instant
    }

    private let log: BusEventLog
    private let database: StoreConnection
    private let owner: String
    private let lease: Duration
    private let flushInterval: Duration
    private let metrics: AggregatorMetrics
    private let logger: Logger
    private let decoder = HeartbeatDecoder()
    private var owned: Owned?
    private var retryAt = ContinuousClock.now
    private var nonces: [UniqueID] = []
    private var hasOwned = false
    /// The last failure that was logged as a warning, until the heartbeats are owned again.
    private var lastFailure: String?

    /// The most that waits for a flush; reading pauses there.
    private static let pendingCountMax = 10_000
    private static let retryInterval = Duration.seconds(1)
    /// Tries to take the heartbeats over whose answers may still be unknown.
    private static let formerNonceCountMax = 8

    init(
        connector: NATSConnector, database: StoreConnection, owner: String, lease: Duration,
        flushInterval: Duration, metrics: AggregatorMetrics, logger: Logger
    ) {
        log = .heartbeats(connector)
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
            if let taken = try acquireIfDue() { try begin(taken) }
            try read(until: min(deadline, owned?.nextFlush ?? deadline))
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
        log.stop()
    }

    private func acquireIfDue() throws(TablesError) -> OwnedPartition? {
        let now = ContinuousClock.now
        guard owned == nil, retryAt <= now else { return nil }
        retryAt = now + Self.retryInterval
        var random = SystemRandomNumberGenerator()
        let nonce = UniqueID.random(using: &random)
        let former = nonces
        nonces = (former + [nonce]).suffix(Self.formerNonceCountMax)
        let acquisition = try database.perform { store throws(PostgresError) in
            try store.acquirePartition(
                stream: BusStream.heartbeats, partition: 0, owner: owner, nonce: nonce,
                formerNonces: former, takesOwnLease: !hasOwned, lease: lease)
        }
        guard case .acquired(let taken) = acquisition else { return nil }
        hasOwned = true
        return taken
    }

    /// Finds where the stream goes on, and begins to read there.
    private func begin(_ taken: OwnedPartition) throws(TablesError) {
        var ownership = taken.ownership
        var standing = taken.standing
        let extent: LogExtent
        let check: LogCheck
        do throws(EventLogError) {
            extent = try log.extent()
            check = try LogCheck.check(standing, extent, log)
        } catch {
            return drop(because: "\(error)")
        }
        if case .moved(let move) = check {
            ownership = try database.performFlush(partition: 0) { store throws(FlushError) in
                try store.reposition(move, by: taken.ownership)
            }
            standing.apply(move)
            logger.warning(
                "the stream of heartbeats does not go on where the tables end",
                metadata: [
                    "committed_seq": "\(move.expectedSequence)",
                    "continues_after": "\(move.committedSequence)",
                ])
        }
        let now = ContinuousClock.now
        let committed = standing.progress.committedSequence
        owned = Owned(
            ownership: ownership, logCreatedNanoseconds: extent.createdNanoseconds,
            expectedSequence: committed, progress: standing.progress,
            trail: AnchorTrail(standing.anchors), nextFlush: now + flushInterval,
            leaseRenewedAt: now)
        log.open(partition: 0, from: committed &+ 1)
        lastFailure = nil
        logger.info("owns the heartbeats", metadata: ["committed_seq": "\(committed)"])
    }

    private func drop(after error: TablesError) {
        metrics.count(error)
        drop(because: "\(error)")
    }

    private func drop(because reason: String) {
        // An outage is told once, not at every try.
        logger.log(
            level: reason == lastFailure ? .debug : .warning, "heartbeats begin anew",
            metadata: ["reason": "\(reason)"])
        lastFailure = reason
        log.close(partition: 0)
        owned = nil
        retryAt = ContinuousClock.now + Self.retryInterval
    }

    private func read(until deadline: ContinuousClock.Instant) throws(TablesError) {
        do throws(EventLogError) {
            let messages = try log.read(until: deadline)
            try verify(messages.last)
            for message in messages { take(message) }
        } catch {
            metrics.countLogFailure()
            // What was read is written, even if the stream has lost it since.
            if owned != nil { try flush() }
            drop(because: "\(error)")
        }
    }

    /// Throws when the stream is not the one that was read before.
    private func verify(_ newest: LogMessage?) throws(EventLogError) {
        let reading = log.readingCount(of: 0)
        guard let owned, reading != owned.verifiedReading else { return }
        let known = [owned.trail.newest, newest.map(LogAnchor.init)].compactMap { $0 }
        try log.require(
            known, in: log.extent(), createdNanoseconds: owned.logCreatedNanoseconds)
        self.owned?.verifiedReading = reading
    }

    private func take(_ message: LogMessage) {
        let position = message.position
        let payload = message.payload
        guard position.sequence > owned?.progress.committedSequence ?? .max else { return }
        owned?.progress.committedSequence = position.sequence
        owned?.trail.append(LogAnchor(message))
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
            var batch = HeartbeatBatch(
                expectedSequence: owned.expectedSequence, progress: owned.progress,
                heartbeats: owned.heartbeats, deadLetters: owned.deadLetters)
            batch.anchors = owned.trail.anchors
            batch.logCreatedNanoseconds = owned.logCreatedNanoseconds
            let (written, ownership) = (batch, owned.ownership)
            _ = try database.performFlush(partition: 0) { store throws(FlushError) in
                try store.upsertProbes(written, by: ownership)
            }
            metrics.recordHeartbeats(
                owned.heartbeats.count, deadLetters: owned.deadLetters.count)
            owned.expectedSequence = owned.progress.committedSequence
            owned.heartbeats.removeAll(keepingCapacity: true)
            owned.deadLetters.removeAll()
            owned.leaseRenewedAt = now
        } else if now - owned.leaseRenewedAt > lease / 3 {
            let (ownership, committed) = (owned.ownership, owned.expectedSequence)
            let isOurs = try database.perform { store throws(PostgresError) in
                try store.renew(ownership, committedSequence: committed)
            }
            guard isOurs else { throw .fenced(partition: 0) }
            owned.leaseRenewedAt = now
        }
        owned.nextFlush = ContinuousClock.now + flushInterval
        self.owned = owned
    }
}

internal import Store
internal import Telemetry
internal import Windowing

/// A partition that a worker owns: the right to write it, and what is in memory of it.
final class OwnedState {
    let ownership: Ownership
    var state: PartitionState
    /// The counters of the last commit.
    var flushedCounters: PartitionCounters
    /// The position of the last commit.
    private(set) var flushedSequence: UInt64
    var nextFlush: ContinuousClock.Instant
    var leaseRenewedAt: ContinuousClock.Instant
    let lostRangeCount: Int

    /// The ``EventLog/readingCount(of:)`` for which the log was found to be the one that was read before.
    var verifiedReading: Int?
    let logCreatedNanoseconds: Int64
    /// Where the log began when the partition was begun.
    let firstSequence: UInt64
    /// Anchors up to the last commit.
    private(set) var trail: AnchorTrail
    /// The message counted last, if any was since the last commit.
    private var lastMessage: LogMessage?

    /// Messages that are still counted one by one, because an earlier owner crashed here again and again.
    var cautiousMessageCount: Int
    /// Messages that are not even to be read for their identifiers.
    let crashingSequences: Set<UInt64>
    /// Whether the crash ledger holds something of the partition.
    var hasCrashes: Bool

    init(
        _ ownership: Ownership, _ standing: PartitionStanding, _ state: PartitionState,
        _ extent: LogExtent, nextFlush: ContinuousClock.Instant, now: ContinuousClock.Instant
    ) {
        self.ownership = ownership
        self.state = state
        self.nextFlush = nextFlush
        logCreatedNanoseconds = extent.createdNanoseconds
        firstSequence = extent.firstSequence
        flushedCounters = state.progress.counters
        flushedSequence = state.progress.committedSequence
        leaseRenewedAt = now
        lostRangeCount = standing.lostRangeCount
        crashingSequences = standing.crashingSequences
        trail = AnchorTrail(standing.anchors)
        let isSuspect =
            standing.crashCount >= CrashCaution.crashCountMax || standing.begunSequence != nil
        cautiousMessageCount = isSuspect ? CrashCaution.messageCount : 0
        hasCrashes = standing.crashCount > 0 || standing.begunSequence != nil
    }

    /// The newest message known of the log.
    var newestAnchor: LogAnchor? {
        lastMessage.map(LogAnchor.init) ?? trail.newest
    }

    /// A message's effects are in the state.
    func didApply(_ message: LogMessage) {
        lastMessage = message
    }

    /// Adds to a flush what the log is to be recognised by.
    func complete(_ batch: inout FlushBatch) {
        if let lastMessage {
            trail.append(LogAnchor(lastMessage))
            batch.anchors = trail.anchors
        }
        batch.logCreatedNanoseconds = logCreatedNanoseconds
        batch.clearsCrashLedger = hasCrashes
    }

    /// A flush is committed.
    func didFlush(_ batch: FlushBatch, at instant: ContinuousClock.Instant) {
        state.confirm(batch)
        flushedCounters = batch.progress.counters
        flushedSequence = batch.progress.committedSequence
        leaseRenewedAt = instant
        lastMessage = nil
        hasCrashes = false
    }
}

/// When to suspect a message of crashing whoever counts it, and what to do.
package enum CrashCaution {
    /// Processes that may die one after the other without a commit, before messages are counted one by one.
    static let crashCountMax = 3
    /// How many messages are then counted one by one: about what an owner has read when it dies. Should the message at
    /// fault stand further on, the same begins anew from there.
    static let messageCount = 256
    /// How many processes may begin to count a message; beyond, it is set aside. More than a few, since processes
    /// that are killed for other reasons blame the message they happen to be at.
    package static let beginCountMax = 5
}

extension LogAnchor {
    init(_ message: LogMessage) {
        self.init(
            sequence: message.position.sequence,
            brokerMilliseconds: message.position.brokerMilliseconds,
            payloadHash: message.payload.withUnsafeBytes { XXHash64.hash($0, seed: 0) })
    }
}

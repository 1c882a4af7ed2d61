internal import Synchronization

/// The running counts behind ``PublisherStatistics``.
final class PublisherCounters: Sendable {
    let blocksSent = Atomic(0)
    let bytesSent = Atomic(0)
    let eventsAcknowledged = Atomic(0)
    let blocksAcknowledged = Atomic(0)
    let blocksTimedOut = Atomic(0)
    let blocksRefused = Atomic(0)
    let blocksDisconnected = Atomic(0)
    let refusedOverloaded = Atomic(0)
    let refusedUnavailable = Atomic(0)
    let refusedTooLarge = Atomic(0)
    let answersLate = Atomic(0)
    let answersUnreadable = Atomic(0)
    let streamLosses = Atomic(0)

    var snapshot: PublisherStatistics {
        PublisherStatistics(
            blocksSent: blocksSent.load(ordering: .relaxed),
            bytesSent: bytesSent.load(ordering: .relaxed),
            eventsAcknowledged: eventsAcknowledged.load(ordering: .relaxed),
            blocksAcknowledged: blocksAcknowledged.load(ordering: .relaxed),
            blocksTimedOut: blocksTimedOut.load(ordering: .relaxed),
            blocksRefused: blocksRefused.load(ordering: .relaxed),
            blocksDisconnected: blocksDisconnected.load(ordering: .relaxed),
            refusedOverloaded: refusedOverloaded.load(ordering: .relaxed),
            refusedUnavailable: refusedUnavailable.load(ordering: .relaxed),
            refusedTooLarge: refusedTooLarge.load(ordering: .relaxed),
            answersLate: answersLate.load(ordering: .relaxed),
            answersUnreadable: answersUnreadable.load(ordering: .relaxed),
            streamLosses: streamLosses.load(ordering: .relaxed))
    }
}

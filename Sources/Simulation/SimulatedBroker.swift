internal import AggregatorCore
internal import Telemetry
internal import Windowing

/// One event, whatever copies of it there are.
struct SimulatedEvent {
    let event: Event
    let partition: Int
    /// Its time is one that no window is kept for.
    let isNonsense: Bool
    var isAcknowledged = false
    /// Not sent any more.
    var isAbandoned = false
    /// When the broker stored its first copy, by the broker's clock.
    var firstStoredAt: Int64?
    var isNumbered: Bool { event.sequence != nil }
}

/// A copy of an event within a message.
struct EventCopy {
    let event: Int
    let receivedAtMilliseconds: Int64
}

/// What a message is, in truth.
enum MessageKind {
    case events
    case undecodable
    case wrongPartition
    /// Whoever counts it dies.
    case lethal
}

/// A message that is to be published.
struct MessageDraft {
    let partition: Int
    let kind: MessageKind
    let copies: [EventCopy]
    let payload: [UInt8]
}

/// A message that the broker stored, whether or not it still has it.
final class StoredMessage {
    let number: Int
    let sequence: UInt64
    let brokerMilliseconds: Int64
    let draft: MessageDraft

    init(number: Int, sequence: UInt64, brokerMilliseconds: Int64, draft: MessageDraft) {
        self.number = number
        self.sequence = sequence
        self.brokerMilliseconds = brokerMilliseconds
        self.draft = draft
    }

    var logMessage: LogMessage {
        LogMessage(
            partition: draft.partition,
            position: PartitionState.Position(
                sequence: sequence, brokerMilliseconds: brokerMilliseconds),
            payload: draft.payload)
    }

    var anchor: LogAnchor {
        LogAnchor(
            sequence: sequence, brokerMilliseconds: brokerMilliseconds,
            payloadHash: draft.payload.withUnsafeBytes { XXHash64.hash($0, seed: 0) })
    }
}

/// A stream as the measurements found it: what is acknowledged is stored, and can still vanish.
final class SimulatedBroker {
    /// The stream's present history from its first message on, what was removed included.
    private(set) var branch: [StoredMessage] = []
    private(set) var createdNanoseconds: Int64
    private(set) var firstSequence: UInt64 = 1
    private(set) var syncedThrough: UInt64 = 0
    /// Counts what ends every connection and every consumer.
    private(set) var connectionEpoch = 0
    private(set) var storedCount = 0
    /// Never lower than before, unless the run lets it jump.
    var clockOffset: Int64 = 0
    var isDown = false
    private var backups: [(length: Int, firstSequence: UInt64)] = []

    init(createdNanoseconds: Int64) {
        self.createdNanoseconds = createdNanoseconds
    }

    var lastSequence: UInt64 { UInt64(branch.count) }

    /// The messages that can be read.
    var readable: ArraySlice<StoredMessage> { branch.dropFirst(Int(firstSequence) - 1) }

    func message(at sequence: UInt64) -> StoredMessage? {
        guard sequence >= firstSequence, sequence <= lastSequence else { return nil }
        return branch[Int(sequence) - 1]
    }

    func store(_ draft: MessageDraft, at milliseconds: Int64) -> StoredMessage {
        let message = StoredMessage(
            number: storedCount, sequence: lastSequence + 1,
            brokerMilliseconds: milliseconds + clockOffset, draft: draft)
        storedCount += 1
        branch.append(message)
        return message
    }

    func sync() { syncedThrough = lastSequence }

    /// The machine lost power: what was not synced is gone, and its sequences are given out again.
    func loseTail() -> [StoredMessage] {
        connectionEpoch += 1
        return cut(to: max(syncedThrough, firstSequence - 1))
    }

    private func cut(to last: UInt64) -> [StoredMessage] {
        let gone = Array(branch[Int(last)...])
        branch.removeSubrange(Int(last)...)
        syncedThrough = min(syncedThrough, last)
        backups.removeAll { $0.length > branch.count }
        return gone
    }

    func backUp() { backups.append((branch.count, firstSequence)) }

    /// The stream is replaced by an older copy of itself; nil when there is none.
    func restore(_ choice: UInt64) -> [StoredMessage]? {
        guard !backups.isEmpty else { return nil }
        let backup = backups[Int(choice % UInt64(backups.count))]
        connectionEpoch += 1
        firstSequence = backup.firstSequence
        let gone = cut(to: UInt64(backup.length))
        sync()
        return gone
    }

    /// The stream is deleted and made anew.
    func recreate(at nanoseconds: Int64) -> [StoredMessage] {
        connectionEpoch += 1
        createdNanoseconds = nanoseconds
        firstSequence = 1
        backups = []
        return cut(to: 0)
    }

    /// Removes what is below `sequence`.
    func purge(below sequence: UInt64) {
        firstSequence = max(firstSequence, min(sequence, lastSequence + 1))
    }

    func endConnections() { connectionEpoch += 1 }
}

/// What a stream had over time, restored from older copies in between, and which of its events are counted.
///
/// A stream that is restored begins with the copy. What was counted beyond the copy stays counted: numbered events are
/// known for ever, but the identifiers of the others are known only as far as they are still in the stream.
struct LogHistory {
    /// The messages of the stream as it is now.
    private(set) var messages: [StreamContents.Message] = []
    /// Events that count, each in the copy that was read first.
    private(set) var counted: [OracleEvent] = []
    /// Messages that were counted and are gone.
    private(set) var gone: [StreamContents.Message] = []
    /// Identities of everything that was ever stored.
    private(set) var stored: Set<String> = []
    private var numbered: Set<String> = []
    /// Identities of the events without a number that are still in the stream.
    private var known: Set<String> = []
    /// Messages of the copy that were not counted when it was put back.
    private var waiting: [StreamContents.Message] = []

    /// The first sequence that was not added yet.
    var next: UInt64 { (messages.last?.sequence ?? 0) + 1 }

    mutating func add(_ restoration: Restoration) throws {
        try add(
            StreamContents(storeFolder: restoration.lostStore, from: next).messages,
            keeping: StreamContents.lastSequence(inStoreFolder: restoration.copiedStore),
            committed: restoration.committed)
    }

    /// - Parameters:
    ///   - lost: The stream from ``next`` on, before it was restored.
    ///   - copied: The last sequence of the copy.
    ///   - committed: By partition, the last sequence that was counted.
    mutating func add(
        _ lost: [StreamContents.Message], keeping copied: UInt64, committed: [Int: UInt64]
    ) {
        store(lost)
        let kept = lost.filter { $0.sequence <= copied }
        messages += kept
        waiting += kept
        func isCounted(_ message: StreamContents.Message) -> Bool {
            message.sequence <= committed[message.partition] ?? 0
        }
        known = count(waiting.filter(isCounted), knowing: known)
        waiting.removeAll(where: isCounted)
        let removed = lost.filter { $0.sequence > copied && isCounted($0) }
        gone += removed
        _ = count(removed, knowing: known)
    }

    /// - Parameter stream: The stream from ``next`` on, all of it counted.
    mutating func end(with stream: [StreamContents.Message]) {
        store(stream)
        messages += stream
        known = count(waiting + stream, knowing: known)
        waiting = []
    }

    private mutating func store(_ messages: [StreamContents.Message]) {
        for message in messages { stored.formUnion((message.events ?? []).map(\.identity)) }
    }

    /// Counts messages, and returns what is known behind it.
    private mutating func count(
        _ messages: [StreamContents.Message], knowing known: consuming Set<String>
    ) -> Set<String> {
        for event in messages.flatMap({ $0.events ?? [] }) {
            let isNew =
                event.numbered == nil
                ? known.insert(event.identity).inserted
                : numbered.insert(event.identity).inserted
            if isNew { counted.append(event) }
        }
        return known
    }
}

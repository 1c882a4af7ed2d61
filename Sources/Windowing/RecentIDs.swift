package import Telemetry

/// The identifiers of the events of the last minutes of the log that carry no sequence number.
///
/// An event without a sequence is a duplicate when the same client's event with the same identifier was read within
/// the horizon before it, counted or not: what is known then depends on the last minutes of the log alone, and
/// reading them again brings exactly that back. The first in log order is counted.
package struct RecentIDs: Sendable {
    /// How far back identifiers are remembered, by the broker's time, ms.
    package static let horizonMilliseconds: Int64 = 15 * 60 * 1000

    /// Client and identifier in 128 bits; two different pairs share one with probability 2^-128.
    package struct Key: Hashable, Sendable {
        private let high: UInt64
        private let low: UInt64

        package init(client: UInt64, secondClientHash: UInt64, event: UniqueID) {
            // Identifiers are random or unique already; the client's hashes keep one client's
            // identifiers apart from another's.
            high = event.high ^ client
            low = event.low ^ secondClientHash
        }
    }

    private struct Entry: Sendable {
        let content: UInt64
        /// Which of the key's arrivals is the newest.
        let arrival: UInt64
    }

    private struct Arrival: Sendable {
        let key: Key
        let brokerMilliseconds: Int64
        let sequence: UInt64
        let number: UInt64
    }

    private let countMax: Int
    /// How many identifiers were forgotten before the horizon, because there were too many.
    package private(set) var forgottenEarly: Int64 = 0

    private var entries: [Key: Entry] = [:]
    /// In log order; elements before `oldest` have expired.
    private var arrivals: [Arrival] = []
    private var oldest = 0
    private var nextNumber: UInt64 = 0

    /// - Parameter countMax: The most identifiers remembered, at least 1; beyond, the oldest are forgotten
    ///   early, so that a repetition of theirs counts again.
    package init(countMax: Int) {
        self.countMax = max(1, countMax)
    }

    /// What is known about an identifier.
    package enum Verdict: Hashable, Sendable {
        case new
        /// Seen before, with the same content the last time.
        case duplicate
        /// Seen before, with other content the last time.
        case conflict
    }

    /// How many identifiers are remembered.
    package var count: Int { entries.count }

    /// Remembers an identifier, from now on if it is known.
    package mutating func insert(
        _ key: Key, content: UInt64, sequence: UInt64, brokerMilliseconds: Int64
    ) -> Verdict {
        let known = entries[key]
        // Repetitions take room as well, so many of them make others be forgotten early.
        if arrivals.count &- oldest >= countMax {
            let count = entries.count
            forgetOldest()
            if entries.count < count { forgottenEarly &+= 1 }
        }
        entries[key] = Entry(content: content, arrival: nextNumber)
        arrivals.append(
            Arrival(
                key: key, brokerMilliseconds: brokerMilliseconds, sequence: sequence,
                number: nextNumber))
        nextNumber &+= 1
        guard let known else { return .new }
        return known.content == content ? .duplicate : .conflict
    }

    /// Forgets what is older than the horizon, seen from `brokerMilliseconds`.
    package mutating func expire(at brokerMilliseconds: Int64) {
        let limit = brokerMilliseconds &- Self.horizonMilliseconds
        while oldest < arrivals.count, arrivals[oldest].brokerMilliseconds < limit {
            forgetOldest()
        }
    }

    private mutating func forgetOldest() {
        guard oldest < arrivals.count else { return }
        let arrival = arrivals[oldest]
        if entries[arrival.key]?.arrival == arrival.number {
            entries.removeValue(forKey: arrival.key)
        }
        oldest += 1
        if oldest > 1024, oldest > arrivals.count / 2 {
            arrivals.removeFirst(oldest)
            oldest = 0
        }
    }

    /// The stream sequence of the oldest identifier remembered, or nil when there is none: reading from there on
    /// brings all of them back.
    package var oldestSequence: UInt64? {
        oldest < arrivals.count ? arrivals[oldest].sequence : nil
    }
}

internal import Telemetry

/// What is counted of one run of a probe.
///
/// A class, so that a dictionary of them is changed in place.
final class RecountedSession {
    /// Which numbers have been seen, 64 to a word: the key is the number divided by 64.
    private var seen: [UInt64: UInt64] = [:]
    private var events: Int64 = 0
    private var duplicates: Int64 = 0
    private(set) var firstMilliseconds: Int64?
    private var lastMilliseconds: Int64?

    /// Runs of numbers without a hole.
    private var rangeCount = 0
    /// The most of them that the aggregator keeps.
    private static let rangeCountMax = 10_000

    enum Verdict {
        case first
        case repeated
        /// It would begin a range more than there may be.
        case refused
    }

    /// Counts the event with `number`, unless it was counted before.
    func count(_ number: UInt64, milliseconds: Int64) -> Verdict {
        guard !has(number) else {
            duplicates += 1
            return .repeated
        }
        // A number beside one range makes it longer, one between two makes them one.
        let neighbours = (has(number - 1) ? 1 : 0) + (has(number + 1) ? 1 : 0)
        guard neighbours > 0 || rangeCount < Self.rangeCountMax else { return .refused }
        rangeCount += 1 - neighbours
        seen[number / 64, default: 0] |= 1 << (number % 64)
        events += 1
        firstMilliseconds = min(firstMilliseconds ?? milliseconds, milliseconds)
        lastMilliseconds = max(lastMilliseconds ?? milliseconds, milliseconds)
        return .first
    }

    private func has(_ number: UInt64) -> Bool {
        seen[number / 64, default: 0] & (1 << (number % 64)) != 0
    }

    func canonical(client: Name, session: UniqueID, partition: Int) -> CanonicalSession {
        var ranges: [(UInt64, UInt64)] = []
        for (word, bits) in seen.sorted(by: { $0.key < $1.key }) {
            for offset in UInt64(0)..<64 where bits & (1 << offset) != 0 {
                let number = word * 64 + offset
                if let last = ranges.last, last.1 == number {
                    ranges[ranges.count - 1].1 = number + 1
                } else {
                    ranges.append((number, number + 1))
                }
            }
        }
        return CanonicalSession(
            client: client.text, session: session, partition: partition, counted: ranges,
            firstMilliseconds: firstMilliseconds, lastMilliseconds: lastMilliseconds,
            events: events, duplicates: duplicates)
    }
}

/// A set of whole numbers as disjoint ranges: which numbers of a session have been counted.
///
/// An honest probe's numbers are one range, or a few while retries are on their way.
package struct SequenceRanges: Hashable, Sendable {
    /// The ranges, ascending, neither overlapping nor touching.
    package private(set) var ranges: [Range<UInt64>] = []

    package init() {}

    /// A set from stored ranges, or nil when they are not ascending, disjoint and not empty.
    package init?(ranges: [Range<UInt64>]) {
        for (index, range) in ranges.enumerated() {
            guard !range.isEmpty else { return nil }
            if index > 0, range.lowerBound <= ranges[index - 1].upperBound { return nil }
        }
        self.ranges = ranges
    }

    /// How many numbers the set holds.
    package var count: UInt64 {
        ranges.reduce(0) { $0 &+ ($1.upperBound &- $1.lowerBound) }
    }

    /// The position of the first range that ends at or after `number`.
    private func position(of number: UInt64) -> Int {
        // Numbers mostly arrive in order: look at the end first.
        if let last = ranges.last {
            if last.upperBound < number { return ranges.count }
            if last.lowerBound <= number { return ranges.count &- 1 }
        }
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low &+ high) >> 1
            if ranges[middle].upperBound < number { low = middle &+ 1 } else { high = middle }
        }
        return low
    }

    package func contains(_ number: UInt64) -> Bool {
        let position = position(of: number)
        if position < ranges.count, ranges[position].contains(number) { return true }
        // A range that ends exactly at `number` does not hold it, but the next one may.
        return position + 1 < ranges.count && ranges[position + 1].contains(number)
    }

    /// The most ranges a set takes. An honest probe has one, and some more while retries are on their way or its
    /// spool overflowed; without a bound, odd numbers alone would make a row grow for ever.
    package static let rangeCountMax = 10_000

    /// What became of a number that was to be added.
    package enum Insertion: Hashable, Sendable {
        case inserted
        /// The set holds it already.
        case known
        /// It would be one range more than ``rangeCountMax``.
        case full
    }

    /// Adds `number`, which is below `UInt64.max`.
    package mutating func insert(_ number: UInt64) -> Insertion {
        guard number < .max, !contains(number) else { return .known }
        let position = position(of: number)
        let next = number &+ 1
        if position < ranges.count, ranges[position].upperBound == number {
            if position + 1 < ranges.count, ranges[position + 1].lowerBound == next {
                let end = ranges[position + 1].upperBound
                ranges[position] = ranges[position].lowerBound..<end
                ranges.remove(at: position + 1)
            } else {
                ranges[position] = ranges[position].lowerBound..<next
            }
        } else if position < ranges.count, ranges[position].lowerBound == next {
            ranges[position] = number..<ranges[position].upperBound
        } else {
            guard ranges.count < Self.rangeCountMax else { return .full }
            ranges.insert(number..<next, at: position)
        }
        return .inserted
    }
}

import Glibc
import TestKit

/// Goes through some faults in a random order, then in another, and so on.
struct FaultSequence {
    private let faults: [ChaosFault]
    private var left: [ChaosFault] = []
    private(set) var hasDoneAll = false

    init(_ faults: [ChaosFault]) {
        self.faults = faults
        hasDoneAll = faults.isEmpty
    }

    mutating func next(_ random: inout SeededGenerator) -> ChaosFault? {
        if left.isEmpty { left = faults.shuffled(using: &random) }
        return left.popLast()
    }

    mutating func finished() {
        if left.isEmpty { hasDoneAll = true }
    }
}

extension SeededGenerator {
    /// Waits for so many milliseconds of a range.
    mutating func pause(milliseconds: ClosedRange<UInt32>) {
        usleep(UInt32.random(in: milliseconds, using: &self) * 1000)
    }
}

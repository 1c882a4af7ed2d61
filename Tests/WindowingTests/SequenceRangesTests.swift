import TestKit
import Testing
import Windowing

@Test func `numbers in order are one range`() {
    var ranges = SequenceRanges()
    for number in 1...1000 as ClosedRange<UInt64> {
        let insertion = ranges.insert(number)
        #expect(insertion == .inserted)
    }
    #expect(ranges.ranges == [1..<1001])
}

@Test func `any order of numbers gives the same ranges, and each number is new once`() {
    for seed in UInt64(1)...200 {
        var random = SeededGenerator(seed: seed)
        var ranges = SequenceRanges()
        var oracle: Set<UInt64> = []
        for _ in 0..<300 {
            let number = random.next() % 120 + 1
            #expect(ranges.contains(number) == oracle.contains(number), "seed \(seed)")
            let insertion = ranges.insert(number)
            #expect((insertion == .inserted) == oracle.insert(number).inserted, "seed \(seed)")
        }
        #expect(ranges.count == UInt64(oracle.count))
        #expect(ranges.ranges.flatMap { Array($0) } == oracle.sorted(), "seed \(seed)")
        #expect(SequenceRanges(ranges: ranges.ranges) == ranges, "ranges never touch")
    }
}

@Test func `stored ranges that overlap, touch or are empty are refused`() {
    #expect(SequenceRanges(ranges: [1..<3, 3..<5]) == nil)
    #expect(SequenceRanges(ranges: [1..<4, 3..<5]) == nil)
    #expect(SequenceRanges(ranges: [5..<6, 1..<2]) == nil)
    #expect(SequenceRanges(ranges: [2..<2]) == nil)
    #expect(SequenceRanges(ranges: [1..<3, 4..<5]) != nil)
}

@Test func `the greatest number does not trap`() {
    var ranges = SequenceRanges()
    let insertion = ranges.insert(.max)
    #expect(insertion == .known)
    #expect(ranges.ranges.isEmpty)
}

import ServiceKit
import Testing

/// A generator that can be replayed (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

@Suite struct BackoffTests {
    @Test(arguments: 0..<50 as Range<UInt64>)
    func `no delay exceeds the growing ceiling, nor the maximum`(seed: UInt64) {
        var generator = SeededGenerator(state: seed)
        var backoff = Backoff(initial: .milliseconds(100), maximum: .seconds(5))
        var ceiling = Duration.milliseconds(100)
        for attempt in 1...40 {
            let delay = backoff.next(using: &generator)
            #expect(delay >= .zero && delay <= ceiling, "seed \(seed)")
            #expect(backoff.attempts == attempt)
            ceiling = min(.seconds(5), ceiling * 2)
        }
    }

    @Test func `without jitter the delays are the ceilings, and a reset starts over`() {
        var generator = SeededGenerator(state: 1)
        var backoff = Backoff(
            initial: .seconds(1), maximum: .seconds(10), multiplier: 3, jitter: 0)
        let delays = (0..<4).map { _ in backoff.next(using: &generator) }
        #expect(delays == [.seconds(1), .seconds(3), .seconds(9), .seconds(10)])
        backoff.reset()
        #expect(backoff.attempts == 0)
        #expect(backoff.next(using: &generator) == .seconds(1))
    }

    @Test func `full jitter uses the whole span`() {
        var generator = SeededGenerator(state: 7)
        var backoff = Backoff(initial: .seconds(1), maximum: .seconds(1))
        let delays = (0..<1000).map { _ in backoff.next(using: &generator) }
        #expect(delays.contains { $0 < .milliseconds(50) })
        #expect(delays.contains { $0 > .milliseconds(950) })
    }

    @Test func `partial jitter keeps a floor`() {
        var generator = SeededGenerator(state: 7)
        var backoff = Backoff(initial: .seconds(1), maximum: .seconds(1), jitter: 0.25)
        for _ in 0..<1000 {
            let delay = backoff.next(using: &generator)
            #expect(delay >= .milliseconds(750) && delay <= .seconds(1))
        }
    }
}

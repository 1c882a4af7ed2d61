import Testing

@testable import Transport

@Suite struct ClockReadingTests {
    private let earlier = ClockReading(
        monotonic: MonotonicInstant(nanoseconds: 5_000_000_000), wallNanoseconds: 1_700_000_000)

    @Test func `a stamp is as old on one clock as on the other`() {
        let now = reading(after: 2_000_000, wallStep: 0)
        let arrival = now.arrival(
            stampedAt: now.wallNanoseconds - 300_000, after: earlier)
        #expect(arrival == now.monotonic.advanced(by: .microseconds(-300)))
    }

    @Test(arguments: [1_000_000, -1_000_000, 3_600_000_000_000, -3_600_000_000_000] as [Int64])
    func `a stamp is not used when the wall clock was set meanwhile`(step: Int64) {
        let now = reading(after: 2_000_000, wallStep: step)
        // Stamped before the step, and after it.
        for stamp in [earlier.wallNanoseconds + 1_000_000, now.wallNanoseconds - 10_000] {
            #expect(now.arrival(stampedAt: stamp, after: earlier) == nil)
        }
    }

    @Test func `a stamp from before the last look, or from later than now, is not used`() {
        let now = reading(after: 2_000_000, wallStep: 0)
        for stamp in [
            earlier.wallNanoseconds - 2_000_000, now.wallNanoseconds + 1_000_000, 0, .min, .max,
        ] {
            #expect(now.arrival(stampedAt: stamp, after: earlier) == nil)
        }
    }

    @Test func `extremes of the clocks are no arrival`() {
        let least = ClockReading(
            monotonic: MonotonicInstant(nanoseconds: 0), wallNanoseconds: .min)
        let most = ClockReading(
            monotonic: MonotonicInstant(nanoseconds: .max), wallNanoseconds: .max)
        #expect(most.arrival(stampedAt: .min, after: least) == nil)
        #expect(least.arrival(stampedAt: .max, after: most) == nil)
    }

    private func reading(after nanoseconds: Int64, wallStep: Int64) -> ClockReading {
        ClockReading(
            monotonic: earlier.monotonic.advanced(by: .nanoseconds(nanoseconds)),
            wallNanoseconds: earlier.wallNanoseconds + nanoseconds + wallStep)
    }
}

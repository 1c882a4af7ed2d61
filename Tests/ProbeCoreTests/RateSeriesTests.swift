import ProbeCore
import Testing

@Suite struct RateSeriesTests {
    /// A series with a point every 10 ms at these rates, bytes per 10 ms.
    private func series(_ rates: [Int]) -> RateSeries {
        var series = RateSeries()
        var bytes = 0
        for (index, rate) in rates.enumerated() {
            bytes += rate
            series.add(bytes, at: .milliseconds(10 * (index + 1)))
        }
        return series
    }

    @Test func `an even transfer has its rate, of all but the first interval`() throws {
        let series = series(Array(repeating: 12_500, count: 500))
        let steady = try #require(series.steady)
        #expect(abs(steady.megabitsPerSecond - 10) < 1e-9)
        #expect(steady.ramp == .milliseconds(100))
        #expect(steady.hasSettled)
        #expect(try abs(#require(series.overallMegabitsPerSecond) - 10) < 1e-9)
    }

    @Test func `a slow beginning is left out of the rate and not of the overall one`() throws {
        let series = series(
            Array(repeating: 1000, count: 100) + Array(repeating: 12_500, count: 400))
        let steady = try #require(series.steady)
        #expect(abs(steady.megabitsPerSecond - 10) < 1e-9)
        #expect(steady.ramp == .milliseconds(1100))
        #expect(try #require(series.overallMegabitsPerSecond) < 8.5)
    }

    @Test func `a rate that grows to the end has not settled`() throws {
        let steady = try #require(series((1...500).map { $0 * 100 }).steady)
        #expect(!steady.hasSettled)
        #expect(steady.ramp == .milliseconds(2500))
    }

    @Test func `a stall counts against the rate`() throws {
        let steady = try #require(
            series(
                Array(repeating: 12_500, count: 200) + Array(repeating: 0, count: 100)
                    + Array(repeating: 12_500, count: 200)
            ).steady)
        #expect(steady.megabitsPerSecond < 8.5)
    }

    @Test func `a transfer that stands still in its second half is seen`() {
        let burst = Array(repeating: 12_500, count: 100)
        #expect(series(burst + Array(repeating: 0, count: 150)).hasStoodStill)
        #expect(!series(burst + Array(repeating: 0, count: 50)).hasStoodStill)
    }

    @Test func `a short transfer has shorter intervals, and a very short one no rate`() throws {
        let steady = try #require(series(Array(repeating: 12_500, count: 10)).steady)
        #expect(abs(steady.megabitsPerSecond - 10) < 1e-9)
        #expect(series(Array(repeating: 12_500, count: 4)).steady == nil)
        #expect(RateSeries().steady == nil)
        #expect(RateSeries().overallMegabitsPerSecond == nil)
    }

    @Test func `points that go back do no harm`() {
        var series = RateSeries()
        series.add(100, at: .milliseconds(10))
        series.add(50, at: .milliseconds(20))
        series.add(500, at: .milliseconds(5))
        #expect(series.bytes == 100)
        #expect(series.duration == .milliseconds(20))
    }

    @Test func `rates are told for whole stretches`() {
        let rates = series(Array(repeating: 12_500, count: 250)).rates(every: .seconds(1))
        #expect(rates.count == 2)
        #expect(rates.allSatisfy { abs($0 - 10) < 1e-9 })
    }
}

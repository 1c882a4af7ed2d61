import ProbeCore
import TestKit
import Testing
import Transport

/// Exchanges with a server whose clock a test knows.
private struct SimulatedServer {
    /// Its Unix time at boot of the probe's machine, nanoseconds.
    var offset: Int64 = 1_700_000_000_000_000_000
    /// How much faster than the probe's its clock goes, in parts per million, and since when.
    var drift = 0.0
    var driftsSince: Int64 = 0
    var resolution: Int64 = 1000

    func trueOffset(at moment: Int64) -> Int64 {
        offset + Int64((Double(moment - driftsSince) * drift / 1e6).rounded())
    }

    /// Changes the rate without a step.
    mutating func setDrift(_ ppm: Double, at moment: Int64) {
        offset = trueOffset(at: moment)
        driftsSince = moment
        drift = ppm
    }

    func exchange(
        at asked: Int64, thither: Int64, serving: Int64 = 0, back: Int64
    ) -> TimeExchange {
        func stamp(_ moment: Int64) -> Int64 {
            (moment + trueOffset(at: moment)) / resolution * resolution
        }
        return TimeExchange(
            asked: BoottimeInstant(nanoseconds: asked), serverReceived: stamp(asked + thither),
            serverSent: stamp(asked + thither + serving),
            answered: BoottimeInstant(nanoseconds: asked + thither + serving + back),
            resolution: resolution)
    }
}

private func boottime(_ nanoseconds: Int64) -> BoottimeInstant {
    BoottimeInstant(nanoseconds: nanoseconds)
}

private let millisecond: Int64 = 1_000_000
private let second: Int64 = 1_000_000_000

@Suite struct TimeExchangeTests {
    @Test func `offset and delay are those of the RFC`() throws {
        // T1 10 s, T2 and T3 of a clock that is 1000 s ahead, 30 ms thither, 5 ms there, 10 ms back.
        let exchange = TimeExchange(
            asked: boottime(10 * second), serverReceived: 1010 * second + 30 * millisecond,
            serverSent: 1010 * second + 35 * millisecond,
            answered: boottime(10 * second + 45 * millisecond), resolution: 1000)
        let estimate = try #require(exchange.estimate)
        // ((T2−T1)+(T3−T4))/2, and half of (T4−T1)−(T3−T2).
        #expect(estimate.offsetNanoseconds == 1000 * second + 10 * millisecond)
        #expect(estimate.halfWidthNanoseconds == 20 * millisecond + 1000)
        // 15 ppm of 1000 s are 15 ms.
        let later = boottime(1010 * second)
        #expect(estimate.uncertaintyNanoseconds(at: later) - 35 * millisecond == 1001)
    }

    @Test(arguments: [(0, 400), (400, 0), (1, 2), (5000, 3)] as [(Int64, Int64)])
    func `however the delay is divided, the true offset is within the uncertainty`(
        thither: Int64, back: Int64
    ) throws {
        let server = SimulatedServer()
        let exchange = server.exchange(
            at: second, thither: thither * millisecond, serving: 7 * millisecond,
            back: back * millisecond)
        let estimate = try #require(exchange.estimate)
        let error = estimate.offsetNanoseconds - server.trueOffset(at: second)
        #expect(error.magnitude <= estimate.uncertaintyNanoseconds(at: boottime(2 * second)))
        #expect(estimate.halfWidthNanoseconds <= (thither + back) * millisecond / 2 + 1000)
    }

    @Test func `times that cannot be are of no use`() {
        func estimate(_ t1: Int64, _ t2: Int64, _ t3: Int64, _ t4: Int64) -> ClockEstimate? {
            TimeExchange(
                asked: boottime(t1), serverReceived: t2, serverSent: t3, answered: boottime(t4),
                resolution: 1000
            ).estimate
        }
        #expect(estimate(0, 100, 100, 10) != nil)
        // Answered before it was asked, sent before it was received, and longer served than it took.
        #expect(estimate(10, 100, 100, 0) == nil)
        #expect(estimate(0, 100, 90, 10) == nil)
        #expect(estimate(0, 100, 100_000, 10) == nil)
        #expect(estimate(.min, .max, .max, 10) == nil)
        #expect(estimate(0, .min, .max, .max) == nil)
        #expect(estimate(0, .min, .min, .max) == nil)
    }
}

@Suite struct ClockFilterTests {
    /// A quick, even exchange.
    private func exchange(_ server: SimulatedServer, at asked: Int64) throws -> ClockEstimate {
        try #require(
            server.exchange(at: asked, thither: millisecond, back: millisecond).estimate)
    }

    @Test(arguments: 0..<60 as Range<UInt64>)
    func `the true offset is always within what is told, for clocks within the drift allowed`(
        seed: UInt64
    ) throws {
        var random = SeededGenerator(seed: seed)
        var server = SimulatedServer()
        server.resolution = random.chance(30) ? millisecond : 1000
        var filter = ClockFilter()
        var now = Int64.random(in: 0...(100_000 * second), using: &random)
        server.setDrift(.random(in: -15...15, using: &random), at: now)
        for step in 0..<400 {
            if random.chance(20) {
                server.setDrift(.random(in: -15...15, using: &random), at: now)
            }
            func delay() -> Int64 {
                // Mostly a good network, sometimes one that holds packets back for seconds, on either way.
                Int64.random(
                    in: 0...(random.chance(15) ? 5 * second : 40 * millisecond), using: &random)
            }
            let exchange = server.exchange(
                at: now, thither: delay(),
                serving: .random(in: 0...(20 * millisecond), using: &random),
                back: delay())
            now = exchange.answered.nanoseconds
            let judgement = filter.add(try #require(exchange.estimate))
            #expect(judgement == .agreed, "seed \(seed), step \(step)")
            for _ in 0..<3 {
                now += Int64.random(in: 0...(600 * second), using: &random)
                let moment = boottime(now)
                let best = try #require(filter.best(at: moment))
                let error = best.offsetNanoseconds - server.trueOffset(at: now)
                #expect(
                    error.magnitude <= best.uncertaintyNanoseconds(at: moment).magnitude,
                    "seed \(seed), step \(step)")
            }
        }
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func `moments before the exchange are within what is told as well`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var server = SimulatedServer()
        let drift = Double.random(in: -15...15, using: &random)
        server.setDrift(drift, at: 0)
        let asked = Int64.random(in: second...(1_000_000 * second), using: &random)
        let exchange = server.exchange(
            at: asked, thither: .random(in: 0...second, using: &random),
            back: .random(in: 0...second, using: &random))
        let estimate = try #require(exchange.estimate)
        for _ in 0..<50 {
            let before = Int64.random(in: 0...asked, using: &random)
            let error = estimate.offsetNanoseconds - server.trueOffset(at: before)
            #expect(
                error.magnitude
                    <= estimate.uncertaintyNanoseconds(at: boottime(before)).magnitude,
                "seed \(seed)")
        }
    }

    @Test func `the exchange with the least uncertainty counts, until its age outweighs that`()
        throws
    {
        let server = SimulatedServer()
        var filter = ClockFilter()
        let good = try exchange(server, at: second)
        _ = filter.add(good)
        let bad = server.exchange(at: 2 * second, thither: 90 * millisecond, back: 0)
        #expect(filter.add(try #require(bad.estimate)) == .agreed)
        #expect(filter.best(at: boottime(3 * second)) == good)
        // 15 ppm of 4000 s are 60 ms: beyond that the newer one is better.
        for index in 0..<Int64(ClockFilter.exchangeCountMax) {
            let late = server.exchange(
                at: (5000 + index) * second, thither: 20 * millisecond, back: 0)
            _ = filter.add(try #require(late.estimate))
        }
        let best = try #require(filter.best(at: boottime(5010 * second)))
        #expect(best.from > good.until)
    }

    @Test func `a server that was set, or another, is followed when it says so several times`()
        throws
    {
        var server = SimulatedServer()
        var filter = ClockFilter()
        for index in 0..<8 as Range<Int64> {
            _ = filter.add(try exchange(server, at: index * second))
        }
        let before = try #require(filter.best(at: boottime(8 * second)))
        server.offset += 3600 * second
        #expect(filter.add(try exchange(server, at: 10 * second)) == .contradicted)
        #expect(filter.add(try exchange(server, at: 11 * second)) == .contradicted)
        #expect(filter.best(at: boottime(11 * second)) == before)
        #expect(filter.add(try exchange(server, at: 12 * second)) == .replaced)
        let after = try #require(filter.best(at: boottime(13 * second)))
        #expect((after.offsetNanoseconds - server.offset).magnitude < 2 * UInt64(millisecond))
        #expect(filter.add(try exchange(server, at: 14 * second)) == .agreed)
    }

    @Test func `single contradictions, and those that contradict each other, replace nothing`()
        throws
    {
        let server = SimulatedServer()
        var other = server
        var filter = ClockFilter()
        _ = filter.add(try exchange(server, at: 0))
        for index in 1...10 as ClosedRange<Int64> {
            other.offset = server.offset + index * 60 * second
            #expect(filter.add(try exchange(other, at: 3 * index * second)) == .contradicted)
            if index % 2 == 0 {
                let good = try exchange(server, at: (3 * index + 1) * second)
                #expect(filter.add(good) == .agreed)
            }
        }
        let best = try #require(filter.best(at: boottime(60 * second)))
        #expect((best.offsetNanoseconds - server.offset).magnitude < 2 * UInt64(millisecond))
    }
}

@Suite struct WallClockWatchTests {
    private func moment(_ boottime: Int64, wallAhead: Int64) -> MeasurementMoment {
        MeasurementMoment(
            wallNanoseconds: boottime + wallAhead,
            boottime: BoottimeInstant(nanoseconds: boottime))
    }

    @Test func `steps are told with their size, and small changes are not`() {
        var watch = WallClockWatch()
        #expect(watch.observe(moment(second, wallAhead: 5 * second)) == nil)
        #expect(watch.observe(moment(9 * second, wallAhead: 5 * second + 99 * millisecond)) == nil)
        let ahead = 3605 * second
        #expect(
            watch.observe(moment(10 * second, wallAhead: ahead)) == 3600 * second - 99 * millisecond
        )
        #expect(watch.observe(moment(11 * second, wallAhead: ahead)) == nil)
        #expect(
            watch.observe(moment(12 * second, wallAhead: ahead - 100 * millisecond))
                == -100 * millisecond)
        // What cannot be told in nanoseconds.
        #expect(watch.observe(moment(0, wallAhead: .min)) != nil)
        #expect(watch.observe(moment(0, wallAhead: .max)) == .max)
    }
}

import TestKit
import Testing
import Transport

@testable import ProbeCore

@Suite struct EchoLedgerTests {
    @Test func `a train that is answered in full has no losses`() throws {
        var ledger = EchoLedger(patience: .seconds(1))
        for number in 0..<4 {
            ledger.recordSent(at: at(number * 100))
            ledger.recordAnswer(to: number, at: at(number * 100 + 10 + number))
        }
        let found = ledger.summary
        #expect(found.sent == 4 && found.received == 4)
        #expect(found.lossPercent == 0)
        #expect(found.lossRuns == [])
        #expect(found.jitter == .milliseconds(1))
        let roundTrips = try #require(found.roundTrips)
        #expect(roundTrips.least == .milliseconds(10))
        // Rank ⌈0.5·4⌉ = 2 and ⌈0.95·4⌉ = 4.
        #expect(roundTrips.median == .milliseconds(11))
        #expect(roundTrips.percentile95 == .milliseconds(13))
        #expect(roundTrips.most == .milliseconds(13))
    }

    @Test func `a train without answers has no round trip, not one of zero`() {
        var ledger = EchoLedger(patience: .seconds(1))
        for number in 0..<3 { ledger.recordSent(at: at(number)) }
        let found = ledger.summary
        #expect(found.lossPercent == 100)
        #expect(found.lossRuns == [3])
        #expect(found.roundTrips == nil)
        #expect(found.jitter == nil)
    }

    @Test func `nothing sent is no loss of zero`() {
        #expect(EchoLedger(patience: .seconds(1)).summary.lossPercent == nil)
    }

    @Test func `packets that have no answered neighbour have no jitter`() {
        var ledger = EchoLedger(patience: .seconds(1))
        for number in 0..<5 { ledger.recordSent(at: at(number)) }
        for number in [0, 2, 4] { ledger.recordAnswer(to: number, at: at(number * 7 + 10)) }
        #expect(ledger.summary.jitter == nil)
        #expect(ledger.summary.lossRuns == [1, 1])
    }

    @Test func `an answer after the patience is late and its packet lost`() {
        var ledger = EchoLedger(patience: .milliseconds(100))
        ledger.recordSent(at: at(0))
        ledger.recordSent(at: at(10))
        ledger.recordAnswer(to: 0, at: at(101))
        ledger.recordAnswer(to: 1, at: at(110))
        let found = ledger.summary
        #expect(found.late == 1)
        #expect(found.received == 1)
        #expect(found.lossRuns == [1])
        // Its answer came first and is not there for the order.
        #expect(found.reordered == 0)
    }

    @Test func `an answer to a packet that was never sent changes nothing`() {
        var ledger = EchoLedger(patience: .seconds(1))
        ledger.recordSent(at: at(0))
        let before = ledger.summary
        for number in [-1, 1, Int.max] { ledger.recordAnswer(to: number, at: at(1)) }
        #expect(ledger.summary == before)
    }

    @Test(arguments: 0..<300 as Range<UInt64>)
    func `a train is counted as by hand`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let patience = 1 + Int(random.next() % 200)
        let count = 1 + Int(random.next() % 40)
        let lossPercent = Int(random.next() % 101)
        var sentAt: [Int] = []
        var copies: [(number: Int, at: Int)] = []
        for number in 0..<count {
            sentAt.append((sentAt.last ?? 0) + Int(random.next() % 50))
            while !random.chance(lossPercent) {
                copies.append((number, sentAt[number] + Int(random.next() % 250)))
                if random.chance(80) { break }
            }
        }
        // Copies of the same moment are taken in the order of their list.
        let arrived = copies.enumerated().sorted { ($0.1.at, $0.0) < ($1.1.at, $1.0) }.map(\.1)

        var ledger = EchoLedger(patience: .milliseconds(patience))
        for time in sentAt { ledger.recordSent(at: at(time)) }
        for copy in arrived { ledger.recordAnswer(to: copy.number, at: at(copy.at)) }

        let first = (0..<count).map { number in arrived.firstIndex { $0.number == number } }
        let roundTrip = (0..<count).map { number -> Int? in
            guard let place = first[number] else { return nil }
            let time = arrived[place].at - sentAt[number]
            return time <= patience ? time : nil
        }
        let answered = (0..<count).filter { roundTrip[$0] != nil }
        let found = ledger.summary
        #expect(found.sent == count)
        #expect(found.received == answered.count)
        #expect(found.late == first.compactMap { $0 }.count - answered.count)
        #expect(found.duplicates == arrived.count - first.compactMap { $0 }.count)
        let pattern = roundTrip.map { $0 == nil ? "-" : "+" }.joined()
        #expect(found.lossRuns == pattern.split(separator: "+").map(\.count))
        #expect(
            found.reordered
                == answered.count { one in
                    answered.contains { $0 > one && first[$0]! < first[one]! }
                })
        let steps = zip(roundTrip, roundTrip.dropFirst()).compactMap { one, next in
            one.flatMap { one in next.map { abs($0 - one) } }
        }
        #expect(
            found.jitter
                == (steps.isEmpty
                    ? nil : Duration.milliseconds(steps.reduce(0, +)) / steps.count))
        let times = answered.map { roundTrip[$0]! }
        func nearestRank(_ percent: Int) -> Duration? {
            times.filter { time in times.count { $0 <= time } * 100 >= percent * times.count }
                .min().map { .milliseconds($0) }
        }
        #expect(found.roundTrips?.least == times.min().map { .milliseconds($0) })
        #expect(found.roundTrips?.median == nearestRank(50))
        #expect(found.roundTrips?.percentile95 == nearestRank(95))
        #expect(found.roundTrips?.most == times.max().map { .milliseconds($0) })
    }

    private func at(_ milliseconds: Int) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: 1_000_000_000_000)
            .advanced(by: .milliseconds(milliseconds))
    }
}

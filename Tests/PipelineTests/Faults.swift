import Glibc
import PrivateServers
import TestKit

/// Kills and freezes parts of a pipeline at random times.
struct Faults {
    enum Victim: CaseIterable, Sendable {
        case ingest, firstAggregator, secondAggregator, nats, postgres
    }

    private let pipeline: Pipeline
    private var random: SeededGenerator

    init(_ pipeline: Pipeline, seed: UInt64) {
        self.pipeline = pipeline
        random = SeededGenerator(seed: seed)
    }

    /// Kills one to three parts at once, starts them again in another order, and so on.
    ///
    /// - Returns: How many were killed.
    mutating func kill(until deadline: ContinuousClock.Instant) throws -> Int {
        var kills = 0
        while pause(milliseconds: 100...2000, until: deadline) {
            let order = Victim.allCases.shuffled(using: &random)
            let victims = order.prefix(
                random.chance(70) ? 1 : Int.random(in: 2...3, using: &random))
            for victim in victims { try pipeline.kill(victim) }
            kills += victims.count
            _ = pause(milliseconds: 0...1000, until: deadline)
            for victim in victims.shuffled(using: &random) { try pipeline.restart(victim) }
        }
        return kills
    }

    /// Freezes an aggregator for longer than its lease, so that it wakes up as a zombie.
    ///
    /// - Returns: How often.
    mutating func freeze(until deadline: ContinuousClock.Instant) -> Int {
        var freezes = 0
        while pause(milliseconds: 500...4000, until: deadline) {
            let frozen = pipeline.freezeAggregator(isFirst: random.chance(50))
            freezes += 1
            usleep(UInt32.random(in: 3_200...5_000, using: &random) * 1000)
            frozen.resume()
        }
        return freezes
    }

    /// - Returns: False when there is no time for another fault.
    private mutating func pause(
        milliseconds: ClosedRange<UInt32>, until deadline: ContinuousClock.Instant
    ) -> Bool {
        usleep(UInt32.random(in: milliseconds, using: &random) * 1000)
        return ContinuousClock.now < deadline
    }
}

import ProbeCore
import Telemetry
import TestKit
import Testing
import Transport

@Suite struct ScheduleTests {
    private let second: UInt64 = 1_000_000_000
    private let wall: Int64 = 1_700_000_000_123

    private func schedule(
        _ targets: [Name], spacing: Schedule.Spacing = .phase, client: Name = "client",
        now: UInt64 = 77_000_000_000, wall: Int64? = nil, continuing: Schedule? = nil
    ) -> Schedule {
        Schedule(
            targets.map { .init(target: $0, interval: .seconds(10), spacing: spacing) },
            client: client, now: MonotonicInstant(nanoseconds: now),
            wallMilliseconds: wall ?? self.wall, continuing: continuing,
            using: SeededGenerator(seed: 1))
    }

    @Test func `every target is due once per interval, in fixed steps`() throws {
        var schedule = schedule(["a", "b", "c"])
        var seen: [Int: [UInt64]] = [:]
        for _ in 0..<30 {
            let now = try #require(schedule.nextDue)
            for due in schedule.takeDue(at: now) {
                #expect(due.missed == 0)
                seen[due.target, default: []].append(now.nanoseconds)
            }
        }
        for moments in seen.values {
            #expect(moments.count == 10)
            for (earlier, later) in zip(moments, moments.dropFirst()) {
                #expect(later - earlier == 10 * second)
            }
        }
    }

    @Test func `slots that passed unseen are counted and not caught up`() throws {
        var schedule = schedule(["a"])
        let first = try #require(schedule.nextDue)
        let late = first.advanced(by: .seconds(35))
        #expect(schedule.takeDue(at: late).map(\.missed) == [3])
        #expect(schedule.takeDue(at: late).isEmpty)
        #expect(schedule.nextDue == first.advanced(by: .seconds(40)))
    }

    @Test func `a restart keeps the rhythm`() throws {
        let before = try #require(schedule(["a"]).nextDue)
        // 4.321 s later, and after a reboot, as the monotonic clock begins anew.
        let after = try #require(schedule(["a"], now: 0, wall: wall + 4321).nextDue)
        let beforeWall = Int64(before.nanoseconds) - 77_000_000_000 + wall * 1_000_000
        let afterWall = Int64(after.nanoseconds) + (wall + 4321) * 1_000_000
        #expect((afterWall - beforeWall) % Int64(10 * second) == 0)
    }

    @Test func `probes do not measure a target at the same moment`() throws {
        var moments: Set<UInt64> = []
        var perSecond = [Int](repeating: 0, count: 10)
        for index in 0..<1000 {
            let due = try #require(
                schedule(["https://example.com/"], client: Name("probe-\(index)"), now: 0).nextDue)
            moments.insert(due.nanoseconds)
            perSecond[Int(due.nanoseconds / second) % 10] += 1
        }
        #expect(moments.count > 990)
        #expect(perSecond.allSatisfy { $0 > 50 })
    }

    @Test func `Poisson spacing has the interval's mean, bounded gaps and no rhythm`() throws {
        var schedule = schedule(["a"], spacing: .poisson)
        var last = try #require(schedule.nextDue)
        var gaps: [Double] = []
        for _ in 0..<20_000 {
            let now = try #require(schedule.nextDue)
            #expect(schedule.takeDue(at: now).map(\.missed) == [0])
            let next = try #require(schedule.nextDue)
            gaps.append(next.since(now).inSeconds)
            last = next
        }
        #expect(last > MonotonicInstant(nanoseconds: 0))
        let mean = gaps.reduce(0, +) / Double(gaps.count)
        // The standard error of the mean of 20,000 gaps is below 0.07 s.
        #expect(abs(mean - 10) < 0.3, "\(mean)")
        #expect(gaps.allSatisfy { $0 > 1 && $0 < 41 })
        // Memoryless: e^−1 of the gaps of an exponential distribution are longer than its mean.
        let long = Double(gaps.count { $0 > 10.137 }) / Double(gaps.count)
        #expect(abs(long - 0.368) < 0.02, "\(long)")
    }

    @Test(arguments: Schedule.Spacing.allCases)
    func `a reload keeps the next slot of what stays`(spacing: Schedule.Spacing) throws {
        var before = schedule(["a"], spacing: spacing)
        for _ in 0..<3 { _ = before.takeDue(at: try #require(before.nextDue)) }
        let next = try #require(before.nextDue)
        // Shortly before that slot, and with another target before the old one.
        var after = schedule(
            ["b", "a"], spacing: spacing, now: next.nanoseconds - second, continuing: before)
        var moments: [Int: MonotonicInstant] = [:]
        while moments.count < 2 {
            let now = try #require(after.nextDue)
            for due in after.takeDue(at: now) where moments[due.target] == nil {
                moments[due.target] = now
            }
        }
        #expect(moments[1] == next)
    }

    @Test func `no targets are never due`() {
        #expect(schedule([]).nextDue == nil)
    }
}

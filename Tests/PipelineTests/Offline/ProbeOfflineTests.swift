import Foundation
import TestKit
import Testing

private let environment = ProcessInfo.processInfo.environment

/// `QOE_OFFLINE_SEED` repeats a seed; with `QOE_OFFLINE_SECONDS` longer runs are made with this and the following
/// seeds until so much time has passed.
private let firstSeed = environment["QOE_OFFLINE_SEED"].flatMap { UInt64($0) } ?? 1
private let seconds = environment["QOE_OFFLINE_SECONDS"].flatMap { Int($0) }

@Suite(
    .serialized,
    .enabled(
        if: TravellingProbe.obstacle == nil,
        "no time travel: \(TravellingProbe.obstacle ?? "")"))
struct ProbeOfflineTests {
    @Test func `what a probe spooled in hours offline is counted once and in its minute`()
        async throws
    {
        try await run { seed in
            var plan = OfflinePlan(seed: seed)
            if seconds != nil {
                plan.livesPerVisit = 2
                plan.lifeMilliseconds = 500...4000
                plan.onlineSeconds = 60
            }
            return plan
        }
    }

    @Test func `what a small spool dropped is what SQL misses, and nothing else`() async throws {
        try await run { seed in
            var plan = OfflinePlan(seed: seed)
            plan.hasSmallSpool = true
            plan.visits = 5
            plan.lifeMilliseconds = 2500...4000
            plan.onlineSeconds = 4
            if seconds != nil {
                plan.visits = 13
                plan.onlineSeconds = 20
            }
            return plan
        }
    }

    private func run(_ plan: @Sendable @escaping (UInt64) -> OfflinePlan) async throws {
        let deadline = ContinuousClock.now + .seconds((seconds ?? 0) / 2)
        var seed = firstSeed
        repeat {
            try await withTemporaryFolder { folder in
                try await onOwnThread("offline") { [seed] in
                    var run = try OfflineRun(folder: folder, plan(seed))
                    try run.run()
                }
            }
            seed += 1
        } while ContinuousClock.now < deadline
    }
}

import Foundation
import Simulation
import TestKit
import Testing

private func number(_ variable: String) -> UInt64? {
    ProcessInfo.processInfo.environment[variable].flatMap(UInt64.init)
}

private let seedCountDefault: UInt64 = 2000
/// A built-in fault that this many seeds do not find would be missed.
private let mutationSeedCountMax: UInt64 = 300

@Test func `whatever goes wrong, every event is counted once`() async throws {
    let count = number("QOE_SIMULATION_SEEDS") ?? seedCountDefault
    let campaign = try await onOwnThread("simulation") {
        Campaign.run(first: number("QOE_SIMULATION_SEED") ?? 1, count: count)
    }
    print(campaign.summary)
    #expect(campaign.failure == nil)
    guard campaign.failure == nil, count >= seedCountDefault else { return }
    // That somebody dies three times at the same innocent message is too rare to be asked for.
    for counter in campaign.coverage.all where counter.name != "innocentSetAside" {
        #expect(counter.count > 0, "\(counter.name) never happened")
    }
}

@Test(arguments: Mutation.allCases)
func `a fault that is built in is found`(mutation: Mutation) throws {
    let campaign = Campaign.run(first: 1, count: mutationSeedCountMax, mutation: mutation)
    let failure = try #require(campaign.failure)
    print("\(mutation): seed \(failure.seed): \(failure.violation ?? "")")
}

@Test func `a seed is a run`() throws {
    for seed in 1...20 as ClosedRange<UInt64> {
        let first = try Simulation.run(seed: seed).coverage.all.map(\.count)
        let second = try Simulation.run(seed: seed).coverage.all.map(\.count)
        #expect(first == second, "seed \(seed)")
    }
}

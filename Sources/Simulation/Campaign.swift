internal import OwnedThreads
internal import Synchronization

/// Many runs, on a few threads.
package struct Campaign: Sendable {
    package private(set) var coverage = Coverage()
    package private(set) var runCount = 0
    /// The failing run with the lowest seed, if any failed.
    package private(set) var failure: Simulation.Outcome?

    private init() {}

    /// Runs `count` seeds from `first` on; after the first failure no further ones begin.
    package static func run(
        first: UInt64, count: UInt64, threads: Int = 2, mutation: Mutation? = nil,
        traceLength: Int = Simulation.traceLength
    ) -> Campaign {
        let shared = SharedCampaign(next: first, end: first &+ count)
        let workers = (0..<threads).map { index in
            OwnedThread(name: "simulation \(index)") {
                while let seed = shared.nextSeed() {
                    shared.add(outcome(of: seed, mutation, traceLength))
                }
            }
        }
        for worker in workers { worker.join() }
        return shared.result
    }

    private static func outcome(
        of seed: UInt64, _ mutation: Mutation?, _ traceLength: Int
    ) -> Simulation.Outcome {
        do {
            return try Simulation.run(
                seed: seed, mutation: mutation, traceLength: traceLength)
        } catch {
            return Simulation.Outcome(
                seed: seed, coverage: Coverage(), violation: "\(error)", trace: [])
        }
    }

    private final class SharedCampaign: Sendable {
        private let state: Mutex<(next: UInt64, campaign: Campaign)>
        private let end: UInt64

        init(next: UInt64, end: UInt64) {
            self.end = end
            state = Mutex((next, Campaign()))
        }

        var result: Campaign { state.withLock { $0.campaign } }

        func nextSeed() -> UInt64? {
            state.withLock { state in
                guard state.next < end, state.campaign.failure == nil else { return nil }
                defer { state.next += 1 }
                return state.next
            }
        }

        func add(_ outcome: Simulation.Outcome) {
            state.withLock { state in
                state.campaign.coverage += outcome.coverage
                state.campaign.runCount += 1
                guard outcome.violation != nil else { return }
                if outcome.seed < state.campaign.failure?.seed ?? .max {
                    state.campaign.failure = outcome
                }
            }
        }
    }

    /// What happened how often, and what failed.
    package var summary: String {
        var lines = ["\(runCount) seeds"]
        lines += coverage.all.map { "  \($0.name): \($0.count)" }
        if let failure {
            lines += failure.trace
            lines.append("seed \(failure.seed): \(failure.violation ?? "")")
            lines.append("repeat with: make simulate SEED=\(failure.seed) SEEDS=1")
        }
        return lines.joined(separator: "\n")
    }
}

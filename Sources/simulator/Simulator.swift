import ArgumentParser
import Simulation

/// Runs many seeds of the simulation; `make simulate` builds and starts it.
@main
struct Simulator: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulator",
        abstract: "Runs the aggregator's core under seeded crashes, zombies, failovers and losses.")

    @Option(help: "The first seed.")
    var seed: UInt64 = 1

    @Option(help: "How many seeds.")
    var seeds: UInt64 = 2000

    @Option(help: "Threads to run on.")
    var threads = 2

    @Option(help: "How many of its last steps a failing seed tells.")
    var trace = Simulation.traceLength

    @Option(help: "A fault to build in, which must be found.")
    var mutation: String?

    func run() throws {
        var built: Mutation?
        if let mutation {
            guard let known = Mutation(rawValue: mutation) else {
                let names = Mutation.allCases.map(\.rawValue).joined(separator: ", ")
                throw ValidationError("--mutation is one of \(names)")
            }
            built = known
        }
        let campaign = Campaign.run(
            first: seed, count: seeds, threads: max(1, threads), mutation: built,
            traceLength: max(1, trace))
        print(campaign.summary)
        if campaign.failure != nil { throw ExitCode.failure }
    }
}

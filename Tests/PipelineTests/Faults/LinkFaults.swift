import Glibc
import PrivateServers
import Synchronization
import TestKit

/// Freezes aggregators, and makes links fail.
struct LinkFaults {
    private let pipeline: Pipeline
    private let log: FaultLog
    /// Held while something is wrong, so that a restore of the stream can have the pipeline to itself.
    private let quiet: QuietTime
    private var random: SeededGenerator
    private var sequence: FaultSequence

    init(
        _ pipeline: Pipeline, _ faults: [ChaosFault], _ log: FaultLog, _ quiet: QuietTime,
        seed: UInt64
    ) {
        self.pipeline = pipeline
        self.log = log
        self.quiet = quiet
        random = SeededGenerator(seed: seed)
        sequence = FaultSequence(faults.filter(\.isOfLinks))
    }

    var hasDoneAll: Bool { sequence.hasDoneAll }

    /// Until `deadline`, and until each fault has happened.
    mutating func run(until deadline: ContinuousClock.Instant) {
        while ContinuousClock.now < deadline || !sequence.hasDoneAll {
            random.pause(milliseconds: 200...1500)
            guard let fault = sequence.next(&random) else { return }
            quiet.whileNotQuiet { strike(fault) }
            sequence.finished()
        }
    }

    private mutating func strike(_ fault: ChaosFault) {
        log.count(fault.rawValue)
        let links = pipeline.links.shuffled(using: &random)
            .prefix(random.chance(60) ? 1 : Int.random(in: 2...4, using: &random))
        switch fault {
        case .cut:
            for link in links { link.cut() }
        case .halfOpen:
            for link in links { link.leaveHalfOpen() }
        case .stall:
            hold(links, as: .stall, milliseconds: 500...6000)
        case .delay:
            let delay = Duration.milliseconds(Int.random(in: 5...150, using: &random))
            hold(links, as: .delay(delay), milliseconds: 500...3000)
        case .commitLost:
            // Only the link to the primary carries any.
            for link in pipeline.postgres.links {
                for _ in 0..<Int.random(in: 1...3, using: &random) { link.loseNextCommitReply() }
            }
        case .freeze:
            let aggregators = pipeline.programs.filter { $0 != .ingest }
                .sorted { "\($0)" < "\($1)" }
            guard let program = aggregators.randomElement(using: &random),
                let process = pipeline.process(program)
            else { return }
            process.pause()
            // The lease is 3 s.
            random.pause(milliseconds: 3_200...5_000)
            process.resume()
        default:
            preconditionFailure("\(fault) is not of links")
        }
    }

    private mutating func hold(
        _ links: ArraySlice<TCPProxy>, as behaviour: TCPProxy.Behaviour,
        milliseconds: ClosedRange<UInt32>
    ) {
        for link in links { link.set(behaviour) }
        random.pause(milliseconds: milliseconds)
        for link in links { link.set(.forward) }
    }
}

/// Keeps two kinds of faults apart.
final class QuietTime: Sendable {
    private let lock = Mutex<Void>(())

    func whileNotQuiet(_ body: () -> Void) { lock.withLock { _ in body() } }

    func quietly<Result>(_ body: () throws -> Result) rethrows -> Result {
        try lock.withLock { _ in try body() }
    }
}

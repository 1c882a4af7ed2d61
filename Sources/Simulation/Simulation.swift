/// The real core under a seeded scheduler, with a simulated log, database, network and time.
///
/// What it shows to hold, for every order of crashes, zombies, lost connections, failovers and losses it makes:
///
/// 1. The rows are, bit for bit, what the messages of the commits that the database kept give, each event once.
///    An event with a number is counted once however late its copies come; one without is counted once as long
///    as its copies come within 15 minutes by the broker's clock, and the log keeps the first of them for so long.
///    Should the broker lose a copy that was counted, a later copy of an event without a number counts again.
/// 2. Every message that the log holds is counted, or is a dead letter. A message is set aside as one that crashes its
///    readers only if more than ``CrashCaution/beginCountMax`` processes began to count it alone and none of them
///    committed: processes that die just there, again and again, can make a dead letter of an innocent one.
/// 3. A message that somebody else than the aggregators removed before it was counted is within a range of
///    `lost_ranges`, together with nothing that could still be read. The same holds when the database loses
///    commits and the aggregators had removed what those had counted.
/// 4. A message that the broker lost before it was counted is not counted: the log does not show that it ever was.
///    What was counted before the broker lost it stays counted.
/// 5. Once nothing goes wrong any more, all of it is counted within ``convergenceMilliseconds``.
///
/// Beyond the promise:
///
/// - A stream that was cut and then had everything removed that the rows could tell it by.
/// - Removals by somebody else that strike a reader which goes on without a new connection, and is past the place
///   before its owner looks at the whole log.
/// - Messages that somebody else removes from the places of messages that the stream lost, while a reader remembers
///   those, has not committed them, and goes on behind them.
/// - Messages that somebody else removes, and that a stream gave sequences which the aggregators had trimmed before it
///   was cut: a partition that had nothing below that trim cannot tell them from what was trimmed.
/// - Messages that were removed unread and come back with an older copy of the stream in the moment in which their
///   owner reports them as lost: they stay a lost range.
/// - Events without a number that are stored while the broker's clock jumps; that come back with an older copy of
///   the stream after their messages were removed unread and reported as lost; or whose message got the
///   sequence of another one that was set aside as crashing its readers before the stream was cut.
package enum Simulation {
    /// What one run came to.
    package struct Outcome: Sendable {
        package let seed: UInt64
        package let coverage: Coverage
        /// What did not hold; nil when everything did.
        package let violation: String?
        /// The last steps before that.
        package let trace: [String]
    }

    /// How long all of it may take to be counted once nothing goes wrong any more: each message that kills its readers takes
    /// eight deaths, and the restarts after them.
    package static let convergenceMilliseconds: Int64 = 600_000

    /// How many of its last steps a failing run tells, unless another number is asked for.
    package static let traceLength = 50

    private static let stepCount = 150...450 as ClosedRange<UInt64>

    /// Runs one seed; a failing one is run again to tell its last steps.
    package static func run(
        seed: UInt64, mutation: Mutation? = nil, traceLength: Int = traceLength
    ) throws -> Outcome {
        let untraced = try world(seed: seed, mutation: mutation, traceLength: 0)
        guard untraced.violation != nil else {
            return Outcome(seed: seed, coverage: untraced.coverage, violation: nil, trace: [])
        }
        let traced = try world(seed: seed, mutation: mutation, traceLength: traceLength)
        return Outcome(
            seed: seed, coverage: traced.coverage,
            violation: traced.violation ?? "not repeatable: \(untraced.violation ?? "")",
            trace: traced.trace)
    }

    private static func world(
        seed: UInt64, mutation: Mutation?, traceLength: Int
    ) throws -> World {
        let world = try World(seed: seed, mutation: mutation, traceLength: traceLength)
        for _ in 0..<world.pick(stepCount) where world.violation == nil { world.step() }
        // Every fourth run ends amid its faults.
        if seed % 4 != 0 {
            world.heal()
            world.checkPromise()
        }
        world.checkRows()
        if world.isBeyondPromise { world.coverage.beyondPromise += 1 }
        return world
    }
}

import ArgumentParser
import OperatorCore
import Postgres
import Store

struct RollUpDatabase: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollup",
        abstract: "Makes the hours and days now that wait to be made of changed minutes.",
        discussion: """
            Aggregators do so by themselves, somewhat later (--rollup-interval). Making one again changes nothing \
            unless its minutes have changed.

            Exit codes: 0; 1 when it failed; 64 wrong usage; 130 after Ctrl-C.
            """)

    @OptionGroup var database: DatabaseOptions

    /// One hour of a large fleet takes minutes.
    private static let answerLimit = Duration.seconds(1800)
    private static let dueCountMax = 100

    func run() throws {
        try interruptibly { stop in
            let connection = try database.connect(
                timeout: Self.answerLimit, interrupt: stop.interrupt)
            defer { connection.close() }
            try Schema().requireCurrent(connection)
            let store = try AggregateStore(connection, statementTimeout: Self.answerLimit)
            var made = 0
            while let due = try store.rollups.due(
                hourDelay: .zero, dayDelay: .zero, limit: Self.dueCountMax)
            {
                for rollup in due where !stop.wasGiven {
                    let window =
                        "\(rollup.level.rawValue) \(utcText(milliseconds: rollup.start.milliseconds))"
                    switch try store.rollups.make(rollup) {
                    case .made(let changedRows): say("\(window): \(changedRows) rows changed")
                    case .sourceRemoved:
                        say("\(window): stays as it is, its minutes have been removed")
                    case .busy: throw CommandFailure(Self.busy)
                    }
                    made += 1
                }
                if stop.wasGiven { throw ArgumentParser.ExitCode(130) }
                // What is written meanwhile belongs to the next call.
                if due.isEmpty || made > Self.madeMax { return say("made \(made)") }
            }
            throw CommandFailure(Self.busy)
        }
    }

    /// More than there are hours in a month.
    private static let madeMax = 1_000
    private static let busy = "an aggregator is making rollups at this moment; run this again"
}

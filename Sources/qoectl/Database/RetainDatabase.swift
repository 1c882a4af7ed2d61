import ArgumentParser
import Bus
import OperatorCore
import Postgres
import ServiceKit
import Store

struct RetainDatabase: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retain",
        abstract: "Makes partitions ahead, and removes what is older than its retention.",
        discussion: """
            Aggregators do the same every ten minutes with their settings of the same names, as far as their login \
            may: removing takes the role qoe_owner. What is removed is judged by how far the stream has been \
            counted, not by the clock, and only after hours and days have been made of it. Nobody waits for a \
            removal; it waits for the transactions that may still look at the partition. What is interrupted goes \
            on with the next call.

            Exit codes: 0; 1 when it failed or lacks the role; 64 wrong usage; 130 after Ctrl-C.
            """)

    @OptionGroup var database: DatabaseOptions

    @Option(
        name: .customLong("retention-1m"),
        help: ArgumentHelp("How long minutes are kept, and a day longer.", valueName: "duration"))
    var minutes = "30d"

    @Option(
        name: .customLong("retention-1h"),
        help: ArgumentHelp("How long hours are kept.", valueName: "duration"))
    var hours = "365d"

    @Option(
        name: .customLong("retention-1d"),
        help: ArgumentHelp(
            "How long days are kept; unless given, for ever.", valueName: "duration"))
    var days: String?

    @Option(
        help: ArgumentHelp(
            "How long silent sessions and forwarded dead letters are kept.",
            valueName: "duration"))
    var retentionLedgers = "365d"

    @Flag(help: "Only say which partitions would be removed.")
    var dryRun = false

    /// A removal waits for transactions that may look at the partition.
    private static let answerLimit = Duration.seconds(600)
    private static let shortest = Duration.seconds(86_400)

    func validate() throws {
        _ = try policy
    }

    private var policy: RetentionPolicy {
        get throws {
            RetentionPolicy(
                minutes: try duration(minutes, "--retention-1m"),
                hours: try duration(hours, "--retention-1h"),
                days: try days.map { try duration($0, "--retention-1d") },
                ledgers: try duration(retentionLedgers, "--retention-ledgers"))
        }
    }

    private func duration(_ text: String, _ option: String) throws -> Duration {
        guard let duration = UnitText.duration(text), duration >= Self.shortest else {
            throw ValidationError(
                "\(option) '\(text)' is no duration of a day or more, such as 30d")
        }
        return duration
    }

    func run() throws {
        try interruptibly { stop in
            let connection = try database.connect(
                timeout: Self.answerLimit, interrupt: stop.interrupt)
            defer { connection.close() }
            try Schema().requireCurrent(connection)
            let store = try AggregateStore(connection, statementTimeout: Self.answerLimit)
            let retention = Retention(store, policy: try policy, stream: BusStream.events)
            if dryRun {
                try sayRemovable(retention)
                return
            }
            let made = try store.retention.ensurePartitions()
            say("made \(made) partitions ahead")
            try sayReport(try retention.keep { stop.wasGiven })
        }
    }

    private func sayRemovable(_ retention: Retention) throws {
        guard let partitions = try retention.removable() else {
            say("nothing: \(Self.unknownLog)")
            return
        }
        for partition in partitions {
            say(
                "would remove \(partition.name), rows before "
                    + utcText(milliseconds: partition.end.milliseconds))
        }
        if partitions.isEmpty { say("nothing is old enough to be removed") }
    }

    private static let unknownLog =
        "no aggregator has read every partition of the stream yet, so what may still come is not known"

    private func sayReport(_ report: RetentionReport) throws {
        if report.wasBusy {
            say("another instance keeps retention at this moment")
            return
        }
        if report.isLogUnknown {
            say("removed nothing: \(Self.unknownLog)")
            return
        }
        for name in report.removedPartitions { say("removed \(name)") }
        for (table, count) in report.forgottenRows.sorted(by: { $0.key < $1.key }) {
            say("removed \(count) rows of \(table)")
        }
        if report.isWaitingForRollups {
            say("some partitions wait until an aggregator has made hours and days of them")
        }
        guard !report.lacksOwnership else {
            throw CommandFailure(
                "partitions are to be removed, and this login may not: GRANT qoe_owner TO it")
        }
        if report.removedPartitions.isEmpty { say("nothing is old enough to be removed") }
    }
}

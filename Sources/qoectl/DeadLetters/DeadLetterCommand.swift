import AggregatorCore
import ArgumentParser
import Foundation
import OperatorCore
import Postgres
import Store
import Telemetry

/// What could not be counted.
struct DeadLetterCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dlq",
        abstract: "Dead letters: what was read from the streams and could not be counted.",
        discussion: """
            A dead letter is named STREAM/PARTITION/SEQUENCE for a whole message and \
            STREAM/PARTITION/SEQUENCE/INDEX for one event of a message, as list prints it. The \
            aggregator forwards each to the stream TELEMETRY_DLQ as well.

            Exit codes of all: 0; 1 when something failed, with the reason; 64 wrong usage; 130 \
            after Ctrl-C.
            """,
        subcommands: [ListLetters.self, ShowLetter.self, ReplayLetters.self])

    /// Which letters.
    struct FilterOptions: ParsableArguments {
        @Option(help: "Only with this reason, such as wrong_checksum.")
        var reason: String?

        @Option(help: "Only of this partition.")
        var partition: Int?

        @Option(
            help: ArgumentHelp(
                "Only of the last time, such as 90s, 5m or 24h.", valueName: "duration"))
        var since: RunTime?

        @Option(help: ArgumentHelp("At most this many, the newest first.", valueName: "number"))
        var limit = 100

        func validate() throws {
            if !(1...100_000).contains(limit) {
                throw ValidationError("--limit \(limit) is not from 1 to 100000")
            }
        }

        var filter: DeadLetterStore.Filter {
            DeadLetterStore.Filter(
                reason: reason, partition: partition,
                sinceSeconds: since?.duration.components.seconds, limit: limit)
        }
    }

    struct ListLetters: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "Lists dead letters, the newest first.")

        @OptionGroup var servers: ServerOptions
        @OptionGroup var filterOptions: FilterOptions

        @Flag(help: "Print JSON.")
        var json = false

        func run() throws {
            try interruptibly { stop in
                let letters = try servers.connected(stop) { database, connector in
                    try DeadLetterDesk(database: database, connector: connector)
                        .list(filterOptions.filter)
                }
                if json {
                    try sayJSON(letters.map { LetterDocument($0) })
                } else {
                    say(lines(letters).joined(separator: "\n"))
                }
            }
        }

        private func lines(_ letters: [StoredDeadLetter]) -> [String] {
            guard !letters.isEmpty else { return ["no dead letters"] }
            var table = TextTable([
                ("RECORDED", .left), ("LETTER", .left), ("REASON", .left), ("FORWARDED", .left),
                ("REPLAYED", .left), ("DETAIL", .left),
            ])
            for letter in letters {
                table.add([
                    utcText(milliseconds: letter.recordedAt.milliseconds),
                    letter.key.description, PayloadText.printable(letter.reason),
                    letter.forwardedAt == nil ? "waiting" : "yes",
                    letter.replayedAt.map { utcText(milliseconds: $0.milliseconds) } ?? "-",
                    String(PayloadText.printable(letter.detail).prefix(80)),
                ])
            }
            return table.lines
        }
    }

    struct ShowLetter: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show", abstract: "Shows one dead letter and what it holds.",
            discussion: """
                Takes the message from its stream, from TELEMETRY_DLQ, or else the beginning that the \
                table keeps; blocks and JSON are decoded as far as possible.
                """)

        @OptionGroup var servers: ServerOptions

        @Argument(help: "STREAM/PARTITION/SEQUENCE[/INDEX]")
        var letter: LetterName

        @Flag(help: "Print JSON.")
        var json = false

        func run() throws {
            try interruptibly { stop in
                try servers.connected(stop) { database, connector in
                    let desk = try DeadLetterDesk(database: database, connector: connector)
                    let found = try desk.letter(letter.key)
                    let (content, place, natsFailure) = desk.content(of: found)
                    let text = PayloadText.lines(of: content.bytes)
                    if json {
                        try sayJSON(
                            LetterDocument(
                                found, content: text, from: place.rawValue,
                                isTruncated: content.isTruncated))
                        return
                    }
                    var lines = [
                        "\(found.key)",
                        "recorded  \(utcText(milliseconds: found.recordedAt.milliseconds))",
                        "reason    \(PayloadText.printable(found.reason))",
                        "detail    \(PayloadText.printable(found.detail))",
                        "forwarded \(moment(found.forwardedAt, found.forwardedSequence))",
                        "replayed  \(moment(found.replayedAt, found.replayedSequence))",
                        "content   from \(place.rawValue)"
                            + (content.isTruncated ? "; the rest is gone" : ""),
                    ]
                    if let natsFailure { lines.append("          NATS: \(natsFailure)") }
                    say((lines + [""] + text).joined(separator: "\n"))
                }
            }
        }

        private func moment(_ time: PostgresTimestamp?, _ sequence: UInt64?) -> String {
            guard let time else { return "no" }
            let place = sequence.map { " as sequence \($0)" } ?? ""
            return utcText(milliseconds: time.milliseconds) + place
        }
    }

    struct ReplayLetters: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "replay", abstract: "Publishes dead letters to their stream again.",
            discussion: """
                A whole message is published as it was, from its stream or from TELEMETRY_DLQ; one \
                event of a block alone, in a block of its own. What was counted meanwhile is found \
                to be a duplicate. A message of which only the beginning is left, and an event of a \
                JSON message, are refused. Each is marked, and published once more only with \
                --again; should the program end between publishing and marking, it is published \
                twice, which changes nothing either.

                  qoectl dlq replay TELEMETRY_EVENTS/3/1207 TELEMETRY_EVENTS/3/1300/17
                  qoectl dlq replay reason:wrong_checksum --dry-run

                Exit codes: 0 all were published, or could be (--dry-run); 1 some were not.
                """)

        @OptionGroup var servers: ServerOptions

        @Argument(
            help: ArgumentHelp(
                "STREAM/PARTITION/SEQUENCE[/INDEX], or reason:NAME, or partition:NUMBER.",
                discussion: "The last two stand for those that were not replayed, up to --limit.",
                valueName: "selector"))
        var selectors: [LetterSelector]

        @Flag(help: "Say what would be published, and publish nothing.")
        var dryRun = false

        @Flag(help: "Publish what was replayed before as well.")
        var again = false

        @Option(
            help: ArgumentHelp(
                "At most this many of each reason: or partition:.", valueName: "number"))
        var limit = 100

        @Flag(help: "Print JSON.")
        var json = false

        func validate() throws {
            if !(1...100_000).contains(limit) {
                throw ValidationError("--limit \(limit) is not from 1 to 100000")
            }
        }

        func run() throws {
            try interruptibly { stop in
                var outcomes: [ReplayOutcome] = []
                try servers.connected(stop) { database, connector in
                    let desk = try DeadLetterDesk(database: database, connector: connector)
                    var random = SystemRandomNumberGenerator()
                    // One block number 1 per producer.
                    for letter in try letters(desk, &outcomes) {
                        guard !stop.wasGiven else { throw Stopped() }
                        let outcome = replay(letter, desk, producer: .random(using: &random))
                        if !json { say(outcome.line) }
                        outcomes.append(outcome)
                    }
                }
                if json { try sayJSON(outcomes) }
                if outcomes.isEmpty { complain("nothing to replay") }
                if outcomes.contains(where: { $0.error != nil }) {
                    throw ArgumentParser.ExitCode(1)
                }
            }
        }

        private func letters(
            _ desk: DeadLetterDesk, _ outcomes: inout [ReplayOutcome]
        ) throws -> [StoredDeadLetter] {
            var letters: [StoredDeadLetter] = []
            for selector in selectors {
                switch selector {
                case .letter(let key):
                    do {
                        letters.append(try desk.letter(key))
                    } catch let error as OperatorError {
                        let outcome = ReplayOutcome(key: key, error: error.description)
                        if !json { say(outcome.line) }
                        outcomes.append(outcome)
                    }
                case .reason(let reason):
                    letters += try desk.list(.init(reason: reason, limit: limit))
                        .filter { again || $0.replayedAt == nil }
                case .partition(let partition):
                    letters += try desk.list(.init(partition: partition, limit: limit))
                        .filter { again || $0.replayedAt == nil }
                }
            }
            return letters
        }

        private func replay(
            _ letter: StoredDeadLetter, _ desk: DeadLetterDesk, producer: UniqueID
        ) -> ReplayOutcome {
            var outcome = ReplayOutcome(key: letter.key)
            do {
                let prepared = try desk.prepareReplay(
                    of: letter, again: again, producer: producer)
                outcome.subject = prepared.subject
                outcome.bytes = prepared.bytes.count
                outcome.outlook = prepared.outlook
                if !dryRun { outcome.sequence = try desk.publish(prepared) }
            } catch {
                outcome.error = "\(error)"
            }
            return outcome
        }
    }
}

/// What became of one letter of a replay.
private struct ReplayOutcome: Encodable {
    let letter: String
    var subject: String?
    var bytes: Int?
    /// Its new sequence; nil when it was not published.
    var sequence: UInt64?
    var outlook: String?
    var error: String?

    init(key: DeadLetterKey, error: String? = nil) {
        letter = key.description
        self.error = error
    }

    var line: String {
        if let error { return "\(letter): not published: \(error)" }
        let what = "\(bytes ?? 0) bytes to \(subject ?? "")"
        let done = sequence.map { "published \(what) as sequence \($0)" } ?? "would publish \(what)"
        return "\(letter): \(done)" + (outlook.map { "; \($0)" } ?? "")
    }
}

/// A dead letter as JSON.
private struct LetterDocument: Encodable {
    let letter: String
    let stream: String
    let partition: Int
    let seq: UInt64
    let idx: Int
    let reason: String
    let detail: String
    let recorded_at_ms: Int64
    let forwarded_at_ms: Int64?
    let forwarded_seq: UInt64?
    let replayed_at_ms: Int64?
    let replayed_seq: UInt64?
    /// The payload as lines for people; of show alone.
    let content: [String]?
    let content_from: String?
    let is_truncated: Bool?

    init(
        _ letter: StoredDeadLetter, content: [String]? = nil, from place: String? = nil,
        isTruncated: Bool? = nil
    ) {
        self.letter = letter.key.description
        stream = letter.key.stream
        partition = letter.key.partition
        seq = letter.key.sequence
        idx = letter.key.index
        reason = letter.reason
        detail = letter.detail
        recorded_at_ms = letter.recordedAt.milliseconds
        forwarded_at_ms = letter.forwardedAt?.milliseconds
        forwarded_seq = letter.forwardedSequence
        replayed_at_ms = letter.replayedAt?.milliseconds
        replayed_seq = letter.replayedSequence
        self.content = content
        content_from = place
        is_truncated = isTruncated
    }
}

/// A dead letter's name on the command line.
struct LetterName: ExpressibleByArgument {
    let key: DeadLetterKey

    init?(argument: String) {
        guard let key = DeadLetterKey(argument) else { return nil }
        self.key = key
    }
}

/// One letter, or those that have something in common.
enum LetterSelector: ExpressibleByArgument {
    case letter(DeadLetterKey)
    case reason(String)
    case partition(Int)

    init?(argument: String) {
        if argument.hasPrefix("reason:"), argument != "reason:" {
            self = .reason(String(argument.dropFirst("reason:".count)))
        } else if argument.hasPrefix("partition:") {
            guard let number = Int(argument.dropFirst("partition:".count)), number >= 0 else {
                return nil
            }
            self = .partition(number)
        } else {
            guard let key = DeadLetterKey(argument) else { return nil }
            self = .letter(key)
        }
    }
}

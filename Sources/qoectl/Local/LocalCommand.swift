import ArgumentParser
import Foundation
import LocalStack

/// The platform on one machine.
struct LocalCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "local",
        abstract: "The whole platform on this machine, with servers and data of its own.",
        subcommands: [Up.self, Psql.self])

    struct FolderOptions: ParsableArguments {
        @Option(
            help: ArgumentHelp(
                "The folder of the stack's data, logs and secrets.",
                discussion: "Default: /var/lib/qoe-local for root, else ~/.local/share/qoe-local."))
        var dataDir: String?

        func validate() throws {
            if dataDir == "" { throw ValidationError("--data-dir is empty") }
        }

        var folder: StackFolder { dataDir.map { StackFolder($0) } ?? .standard }
    }

    struct Up: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Starts everything and shows what is measured, until Ctrl-C.",
            discussion: """
                Starts a private nats-server and PostgreSQL, ingest, aggregator, diagnoser, a target \
                server with settable faults, and three probes that measure it. A second start \
                continues on the same data. Ports are the usual ones where they are free.

                Exit codes: 0 after Ctrl-C, or after --for when all that was measured is in SQL; 1 \
                when something failed or is missing.
                """)

        @OptionGroup var folderOptions: FolderOptions

        @Option(
            name: .customLong("for"),
            help: ArgumentHelp(
                "End by itself after this time, such as 90s or 5m.", valueName: "duration"))
        var runFor: RunTime?

        @Option(
            name: .customLong("probe"),
            help: ArgumentHelp(
                "A further target that every probe measures; may be repeated.", valueName: "url"))
        var targets: [String] = []

        @Option(
            help: ArgumentHelp(
                "The folder of ingest, aggregator, diagnoser and probe.",
                discussion: "Default: where qoectl lies."))
        var programsDir: String?

        func validate() throws {
            for target in targets
            where !target.hasPrefix("http://") && !target.hasPrefix("https://") {
                throw ValidationError("--probe '\(target)' is not an http:// or https:// URL")
            }
        }

        func run() throws {
            var settings = LocalStack.Settings(
                programFolder: programsDir ?? Bundle.main.bundleURL.path)
            settings.folder = folderOptions.folder
            settings.targets = targets
            try LocalSession(settings: settings, duration: runFor?.duration).run()
        }
    }

    struct Psql: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Opens SQL on the stack's database.",
            discussion: """
                What follows -- goes to psql:
                  qoectl local psql -- -c 'SELECT * FROM agg_1m LIMIT 5'
                """)

        @OptionGroup var folderOptions: FolderOptions

        @Argument(parsing: .captureForPassthrough, help: "Arguments for psql.")
        var arguments: [String] = []

        func run() throws {
            try SQLShell.replaceProcess(
                folder: folderOptions.folder, arguments: arguments.filter { $0 != "--" })
        }
    }
}

/// A time span on the command line: a number with `s`, `m` or `h`.
struct RunTime: ExpressibleByArgument {
    let duration: Duration

    init(duration: Duration) { self.duration = duration }

    init?(argument: String) {
        let factors: [Character: Int] = ["s": 1, "m": 60, "h": 3600]
        guard let unit = argument.last, let factor = factors[unit],
            let number = Int(argument.dropLast()), (1...1_000_000).contains(number)
        else { return nil }
        duration = .seconds(number * factor)
    }
}

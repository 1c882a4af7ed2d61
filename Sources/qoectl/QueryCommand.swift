import ArgumentParser
import Foundation
import OperatorCore
import Postgres

/// SQL from the command line.
struct QueryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "query",
        abstract: "Asks the database with SQL and shows the answer.",
        discussion: """
              qoectl query "SELECT * FROM probe_states"
              qoectl query --format csv -f report.sql > report.csv
              qoectl query --plot "SELECT window_start_ts, ttfb_p50, ttfb_p95 FROM agg_1m WHERE …"

            Runs one statement in a transaction that cannot write. When several hosts are named and the URL \
            does not say which kind of server (target_session_attrs), a replica is asked, and standard \
            error says how far it is behind; so it works while the primary is away.

            Times are UTC and ISO 8601. NULL and an empty text differ: a table shows NULL and nothing, CSV \
            (RFC 4180) nothing and "", JSON null and "". JSON has numbers as numbers, with all digits.

            A plot needs a time or a number in the first column and numbers in the others: one panel for \
            each, over the same axis. Rows are joined along the first column; NULL makes a gap.

            Exit codes: 0; 1 when the server refused it, with its message; 64 wrong usage; 130 after Ctrl-C, \
            which ends the statement at the server as well.
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable {
        case table, csv, json, plot
    }

    @OptionGroup var database: DatabaseOptions

    @Argument(help: "One SQL statement, or - to read it from standard input.")
    var sql: String?

    @Option(
        name: [.customShort("f"), .long],
        help: ArgumentHelp("Read the statement from a file.", valueName: "path"))
    var file: String?

    @Option(help: "table, csv, json or plot; a table also into files and pipes, as psql does.")
    var format = Format.table

    @Flag(help: "The same as --format plot.")
    var plot = false

    @Option(help: ArgumentHelp("The most that the server may take.", valueName: "duration"))
    var timeout = RunTime(duration: .seconds(60))

    @Option(help: ArgumentHelp("Show at most this many rows.", valueName: "number"))
    var maxRows = 10_000

    @Option(
        help: ArgumentHelp(
            "Columns of the plot; by default those of the terminal, else 80.", valueName: "number"))
    var width: Int?

    /// A statement is a page of text; more is a mistake.
    private static let statementByteMax = 1 << 20

    func validate() throws {
        if (sql == nil) == (file == nil) {
            throw ValidationError("give one statement, or - for standard input, or --file PATH")
        }
        if !(1...10_000_000).contains(maxRows) {
            throw ValidationError("--max-rows \(maxRows) is not from 1 to 10000000")
        }
        if let width, !(20...1000).contains(width) {
            throw ValidationError("--width \(width) is not from 20 to 1000")
        }
        if plot, format != .table, format != .plot {
            throw ValidationError("--plot and --format \(format.rawValue) exclude each other")
        }
    }

    func run() throws {
        let sql = try statement()
        try interruptibly { stop in
            let address = try database.address
            let connection = try connect(
                address.hostCount > 1 ? address.wanting(unlessNamed: "prefer-standby") : address,
                interrupt: stop.interrupt)
            if let replica = try PostgresReplicaState.of(connection) { complain("\(replica)") }
            let text = try answer(sql, connection, stop)
            try show(text)
            if text.isCut {
                complain("cut off after \(text.rows.count) rows; --max-rows allows more")
            }
        }
    }

    private func connect(
        _ address: PostgresConnectionString, interrupt: PostgresInterrupt
    ) throws -> PostgresConnection {
        do throws(PostgresError) {
            return try PostgresConnection(to: address, interrupt: interrupt)
        } catch {
            let wanted = address.wantedServer ?? "any"
            if error.code == .connectFailed, !["any", "prefer-standby"].contains(wanted) {
                complain(
                    "The URL asks for target_session_attrs=\(wanted); without it a replica is "
                        + "asked too.")
            }
            throw error
        }
    }

    /// The rows; says what the server said when it refused the statement.
    private func answer(
        _ sql: String, _ connection: PostgresConnection, _ stop: StopRequest
    ) throws -> PostgresText {
        do throws(PostgresError) {
            return try DatabaseQuery(connection, timeout: timeout.duration)
                .run(sql, rowLimit: maxRows)
        } catch {
            guard let report = error.report, !stop.wasGiven else { throw error }
            let lines = PayloadText.printable(report, keepsLines: true)
            complain(lines.trimmingCharacters(in: .newlines))
            throw ArgumentParser.ExitCode(1)
        }
    }

    private func statement() throws -> String {
        let data: Data
        switch (sql, file) {
        case ("-", _): data = FileHandle.standardInput.readDataToEndOfFile()
        case (let sql?, _): data = Data(sql.utf8)
        case (nil, let path):
            do {
                data = try Data(contentsOf: URL(fileURLWithPath: path ?? ""))
            } catch {
                throw CommandFailure("cannot read \(path ?? ""): \(error.localizedDescription)")
            }
        }
        guard data.count <= Self.statementByteMax else {
            throw CommandFailure("the statement is longer than \(Self.statementByteMax) bytes")
        }
        guard let text = String(data: data, encoding: .utf8) else {
            throw CommandFailure("the statement is not UTF-8 text")
        }
        guard !text.utf8.contains(0) else {
            throw CommandFailure("the statement holds a null character")
        }
        return text
    }

    private func show(_ text: PostgresText) throws {
        guard !text.columns.isEmpty else {
            say(text.commandTag)
            return
        }
        switch plot ? .plot : format {
        case .table: say(QueryForms.table(text).joined(separator: "\n"))
        case .csv: say(QueryForms.csv(text), terminator: "")
        case .json: say(QueryForms.json(text), terminator: "")
        case .plot:
            let drawn = try LinePlot(text)
            let height = drawn.panelHeight
            say(
                drawn.lines(width: width ?? terminalWidth(), height: height).joined(separator: "\n")
            )
            if drawn.leftOutCount > 0 {
                complain("\(drawn.leftOutCount) rows have no place on the axis and are left out")
            }
        }
    }
}

/// The columns of the terminal; 80 where there is none.
private func terminalWidth() -> Int {
    var size = winsize()
    let isTerminal = ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col >= 20
    return isTerminal ? Int(size.ws_col) : 80
}

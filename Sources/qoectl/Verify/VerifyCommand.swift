import ArgumentParser
import Foundation
import OperatorCore

/// Compares the tables with the stream.
struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Counts the stream again and compares the tables with it.",
        discussion: """
            Checks that every event in the stream is in agg_1m and probe_sessions exactly once, by \
            another way of counting than the aggregator's. Progress and rows are read in one \
            snapshot, then the stream up to there; all may go on running meanwhile.

            Compared is every minute whose events must all still be in the stream: all of them while \
            the stream was never trimmed, else those that begin ten minutes after its oldest message \
            or later. What is left out is said. The whole stream is read, unless --minutes asks for \
            less, and all compared rows are held in memory: some kilobytes each.

            Exit codes: 0 equal; 1 different; 2 could not compare, with the reason; 64 wrong usage; \
            130 after Ctrl-C.
            """)

    @OptionGroup var servers: ServerOptions

    @Option(help: ArgumentHelp("Compare the last minutes only.", valueName: "number"))
    var minutes: Int?

    @Flag(help: "Compare every minute that can be; the default.")
    var all = false

    @Option(help: ArgumentHelp("Show at most this many differences.", valueName: "number"))
    var limit = 20

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        if all, minutes != nil { throw ValidationError("--all and --minutes exclude each other") }
        if let minutes, !(1...60_000).contains(minutes) {
            throw ValidationError("--minutes \(minutes) is not from 1 to 60000")
        }
        if limit < 0 { throw ValidationError("--limit \(limit) is negative") }
    }

    func run() throws {
        // What cannot be compared is neither equal nor different.
        try interruptibly(failureCode: 2) { stop in
            let report = try servers.connected(stop) { database, connector in
                try Verification(database: database, connector: connector, stop: stop)
                    .run(minutes: minutes)
            }
            if json {
                try sayJSON(VerifyDocument(report, limit: limit))
            } else {
                say(text(of: report).joined(separator: "\n"))
            }
            if !report.isEqual { throw ArgumentParser.ExitCode(1) }
        }
    }

    private func text(of report: VerifyReport) -> [String] {
        var lines = report.differences.prefix(limit).flatMap(text)
        let hidden = report.differences.count - min(limit, report.differences.count)
        if hidden > 0 { lines.append("… and \(hidden) more differences (--limit)") }
        if !lines.isEmpty { lines.append("") }
        let since = report.fromMilliseconds.map { " since \(utcText(milliseconds: $0))" } ?? ""
        lines.append(
            "compared \(report.minutes) minutes\(since): \(report.rows) rows of agg_1m with "
                + "\(report.events) events, \(report.sessions) rows of probe_sessions; read "
                + "\(report.messages) messages")
        for reason in report.notCompared { lines.append("not compared: \(reason)") }
        lines.append(
            report.isEqual
                ? "equal: the tables are what the stream says"
                : "DIFFERENT: \(report.differences.count) rows are not what the stream says")
        return lines
    }

    private func text(of difference: VerifyReport.Difference) -> [String] {
        let kind =
            switch difference.kind {
            case .missing: "missing in the table"
            case .unexpected: "not in the stream"
            case .different: "different"
            }
        var lines = ["\(difference.table) \(difference.key): \(kind)"]
        for field in difference.fields where difference.kind == .different {
            lines.append("  stream  \(field.stream ?? "-")")
            lines.append("  table   \(field.table ?? "-")")
        }
        return lines
    }
}

/// A report as JSON.
private struct VerifyDocument: Encodable {
    struct Difference: Encodable {
        struct Field: Encodable {
            let stream: String?
            let table: String?
        }

        let table: String
        let key: String
        let kind: String
        let fields: [Field]
    }

    let result: String
    let from_ms: Int64?
    let minutes: Int
    let rows: Int
    let events: Int64
    let sessions: Int
    let messages: Int64
    let not_compared: [String]
    let difference_count: Int
    let differences: [Difference]

    init(_ report: VerifyReport, limit: Int) {
        result = report.isEqual ? "equal" : "different"
        from_ms = report.fromMilliseconds
        minutes = report.minutes
        rows = report.rows
        events = report.events
        sessions = report.sessions
        messages = report.messages
        not_compared = report.notCompared
        difference_count = report.differences.count
        differences = report.differences.prefix(limit).map { difference in
            Difference(
                table: difference.table, key: difference.key, kind: difference.kind.rawValue,
                fields: difference.fields.map { .init(stream: $0.stream, table: $0.table) })
        }
    }
}

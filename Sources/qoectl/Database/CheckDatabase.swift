import ArgumentParser
import Foundation
import OperatorCore
import Postgres

struct CheckDatabase: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Looks for what is wrong with the database, and says what to do.",
        discussion: """
            Schema, partitions ahead, freshness, dead letters and losses; replication, slots and archive; long \
            transactions, the vacuum horizon, transaction ids, dead rows and invalid indexes; settings that \
            a commit depends on, connections, size and disk. Changes nothing. What the role may not \
            see is a line with SKIP; GRANT pg_monitor TO it shows all.

            Exit codes, as monitoring plugins have them: 0 all is well; 1 a WARN; 2 a CRIT, or no answer; \
            64 wrong usage; 130 after Ctrl-C.
            """)

    @OptionGroup var database: DatabaseOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        try interruptibly(failureCode: 2) { stop in
            let connection = try database.connect(interrupt: stop.interrupt)
            defer { connection.close() }
            let findings = try DatabaseCheck(connection).run()
            if json {
                try sayJSON(
                    findings.map { finding in
                        FindingDocument(
                            level: finding.level.rawValue, subject: finding.subject,
                            message: finding.message, advice: finding.advice)
                    })
            } else {
                say(findings.flatMap(lines).joined(separator: "\n"))
            }
            let worst = findings.map(\.level.exitCode).max() ?? 0
            if worst > 0 { throw ArgumentParser.ExitCode(worst) }
        }
    }

    private func lines(_ finding: Finding) -> [String] {
        let level = finding.level.rawValue
        let gap = String(repeating: " ", count: 5 - level.count)
        let advice = finding.advice.map { "     → \($0)" }
        return ["\(level)\(gap)\(finding.subject): \(finding.message)"]
            + (advice.map { [$0] } ?? [])
    }
}

/// A finding as JSON.
private struct FindingDocument: Encodable {
    let level: String
    let subject: String
    let message: String
    let advice: String?
}

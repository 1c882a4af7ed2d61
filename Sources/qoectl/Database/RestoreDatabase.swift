import ArgumentParser
import Foundation
import NATSClient
import OperatorCore
import Postgres

struct RestoreDatabase: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Fills an empty database from an archive of qoectl db backup.",
        discussion: """
              psql -c 'CREATE DATABASE telemetry2 OWNER qoe'
              qoectl db restore /backups/telemetry-2026-11-21.dump --postgres-url postgresql://…/telemetry2

            Stop the aggregators first, and start them with the new database afterwards: they read from the \
            stream what came since the backup and count it exactly once, as far as the stream still has it. With \
            --nats-url this is looked at. An archive of an older schema is brought up to date by qoectl db \
            migrate; one of a newer schema is refused. One transaction, unless --jobs is given.

            Exit codes: 0; 1 when it failed; 64 wrong usage; 130 after Ctrl-C.
            """)

    @OptionGroup var database: DatabaseOptions

    @Argument(help: "The archive: a file or a folder.")
    var path: String

    @Option(
        help: ArgumentHelp(
            "Fill this many tables at once, not in one transaction.", valueName: "number"))
    var jobs = 1

    @OptionGroup var nats: NATSOptionGroup

    func validate() throws {
        if !(1...64).contains(jobs) { throw ValidationError("--jobs \(jobs) is not from 1 to 64") }
    }

    func run() throws {
        try interruptibly { stop in
            let address = try database.address
            let connection = try PostgresConnection(to: address, interrupt: stop.interrupt)
            defer { connection.close() }
            let report = try DatabaseRestore(database: connection, address: address, stop: stop)
                .run(from: path, jobCount: jobs)
            say(
                "restored \(report.tableCount) tables, schema version \(report.schemaVersion), in "
                    + seconds(report.duration))
            if report.schemaVersion < report.programVersion {
                say("now run qoectl db migrate: this program needs \(report.programVersion)")
            }
            let flushed = report.flushedAt.map {
                "The tables are as of \(utcText(milliseconds: $0.milliseconds)). "
            }
            say(
                (flushed ?? "") + "Keep the aggregators stopped until --postgres-url names this "
                    + "database: they then read from the stream what came since. One that goes on "
                    + "with the old database may trim the stream of it.")
            if nats.natsUrl != nil { try sayOutlook(connection) }
        }
    }

    private func sayOutlook(_ connection: PostgresConnection) throws {
        let connector = NATSConnector(nats.options)
        defer { connector.stop() }
        let outlook = try ReplayOutlook(database: connection, connector: connector)
        for shortfall in outlook.shortfalls {
            complain("warning: \(shortfall.stream): \(shortfall.message)")
        }
        if outlook.shortfalls.isEmpty {
            say(
                "The streams have all that is needed: up to \(outlook.messagesToReplay) messages to "
                    + "read.")
        }
    }
}

import ArgumentParser
import Foundation
import NATSClient
import OperatorCore
import Postgres

struct BackupDatabase: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Copies the database into a file or a folder, while everything runs.",
        discussion: """
              qoectl db backup /backups/telemetry-$(date +%F).dump
              qoectl db backup --format directory --jobs 4 /backups/telemetry-$(date +%F)

            Runs pg_dump on one snapshot: rows and progress belong together. The archive gets its name when \
            it is complete, on the disk and readable. It says itself which schema it has. For tens of \
            gigabytes and more see docs/operating-the-database.md: base backups and the archived log.

            Exit codes: 0; 1 when it failed, and then nothing is left of it; 64 wrong usage; 130 after Ctrl-C.
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable {
        case custom, directory
    }

    @OptionGroup var database: DatabaseOptions

    @Argument(help: "The file or folder to make.")
    var path: String

    @Option(help: "custom: one file; directory: a folder with a file per table.")
    var format = Format.custom

    @Option(help: ArgumentHelp("Copy this many tables at once into a folder.", valueName: "number"))
    var jobs = 1

    @Flag(help: "Replace an archive of the same name once the new one is complete.")
    var force = false

    func validate() throws {
        if !(1...64).contains(jobs) { throw ValidationError("--jobs \(jobs) is not from 1 to 64") }
        if jobs > 1, format != .directory {
            throw ValidationError("--jobs needs --format directory: a file has one writer")
        }
        if path.isEmpty { throw ValidationError("name the file or folder to make") }
    }

    func run() throws {
        try interruptibly { stop in
            let address = try database.address
            let connection = try PostgresConnection(to: address, interrupt: stop.interrupt)
            defer { connection.close() }
            var settings = DatabaseBackup.Settings(path: path)
            settings.isFolder = format == .directory
            settings.jobCount = jobs
            settings.overwrites = force
            let report = try DatabaseBackup(database: connection, address: address, stop: stop)
                .run(settings)
            say(
                "\(path): \(byteText(report.byteCount)), \(report.tableCount) tables, schema version "
                    + "\(report.schemaVersion), in \(seconds(report.duration))")
        }
    }
}

struct RestoreDatabase: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Fills an empty database from an archive of qoectl db backup.",
        discussion: """
              psql -c 'CREATE DATABASE telemetry2 OWNER qoe_owner'
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

    @Option(
        help: ArgumentHelp(
            "The NATS servers, separated by commas, to see what the stream still has.",
            valueName: "urls"))
    var natsUrl: String?

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
            if let natsUrl { try sayOutlook(natsUrl, connection) }
        }
    }

    private func sayOutlook(_ urls: String, _ connection: PostgresConnection) throws {
        let list = urls.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
        let connector = NATSConnector(NATSOptions(urls: list, name: "qoectl"))
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

/// A duration with one decimal.
private func seconds(_ duration: Duration) -> String {
    let (seconds, attoseconds) = duration.components
    return String(format: "%.1f s", Double(seconds) + Double(attoseconds) / 1e18)
}

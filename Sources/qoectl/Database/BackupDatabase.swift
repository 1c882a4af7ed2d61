import ArgumentParser
import Foundation
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

/// A duration with one decimal.
func seconds(_ duration: Duration) -> String {
    let (seconds, attoseconds) = duration.components
    return String(format: "%.1f s", Double(seconds) + Double(attoseconds) / 1e18)
}

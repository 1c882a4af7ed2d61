import ArgumentParser
import Foundation
import Postgres
import Store

/// The database: schema, state, copies.
struct DatabaseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "db", abstract: "The database: its schema and what state it is in.",
        subcommands: [
            Migrate.self, Status.self, CheckDatabase.self, BackupDatabase.self,
            RestoreDatabase.self, RollUpDatabase.self, RetainDatabase.self,
            FailOverDatabase.self, RejoinDatabase.self,
        ])

    struct Migrate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Brings the schema to this program's version.",
            discussion: "Safe to repeat, and safe when two run at once.")

        @OptionGroup var database: DatabaseOptions

        func run() throws {
            let applied = try Schema().migrate(database.connect())
            for version in applied { print("applied migration \(version)") }
            print("the schema is at version \(Schema().version)")
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists the migrations and which of them are applied.",
            discussion: "Exit code 1 when some are not.")

        @OptionGroup var database: DatabaseOptions

        func run() throws {
            let entries = try Schema().status(database.connect())
            for entry in entries {
                let applied = entry.appliedAt.map {
                    Date(timeIntervalSince1970: Double($0.microseconds) / 1e6)
                        .formatted(.iso8601)
                }
                print("\(entry.version)  \(entry.name)  \(applied ?? "not applied")")
            }
            if entries.contains(where: { $0.appliedAt == nil }) { throw ArgumentParser.ExitCode(1) }
        }
    }
}

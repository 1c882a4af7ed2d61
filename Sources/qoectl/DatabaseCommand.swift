import ArgumentParser
import Foundation
import Postgres
import Store

/// The database's schema.
struct DatabaseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "db", abstract: "The database: its schema and what state it is in.",
        subcommands: [Migrate.self, Status.self])

    struct ConnectionOptions: ParsableArguments {
        @Option(
            help: ArgumentHelp(
                "Where the database is, as a libpq URI.",
                discussion: """
                    Several hosts may be named. Default: QOE_POSTGRES_URL, else \
                    postgresql://qoe@127.0.0.1:5432/telemetry. A password belongs into ~/.pgpass, or \
                    into QOE_POSTGRES_URL, not onto the command line.
                    """, valueName: "uri"))
        var postgresUrl: String?

        var url: String {
            postgresUrl ?? ProcessInfo.processInfo.environment["QOE_POSTGRES_URL"]
                ?? "postgresql://qoe@127.0.0.1:5432/telemetry"
        }

        func connect() throws -> PostgresConnection {
            try PostgresConnection(to: PostgresConnectionString(url, applicationName: "qoectl"))
        }
    }

    struct Migrate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Brings the schema to this program's version.",
            discussion: "Safe to repeat, and safe when two run at once.")

        @OptionGroup var connection: ConnectionOptions

        func run() throws {
            let applied = try Schema().migrate(connection.connect())
            for version in applied { print("applied migration \(version)") }
            print("the schema is at version \(Schema().version)")
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists the migrations and which of them are applied.",
            discussion: "Exit code 1 when some are not.")

        @OptionGroup var connection: ConnectionOptions

        func run() throws {
            let entries = try Schema().status(connection.connect())
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

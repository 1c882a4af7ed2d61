import ArgumentParser
import Foundation
import NATSClient
import OperatorCore
import Postgres

/// Where the database is.
struct DatabaseOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Where the database is, as a libpq URI.",
            discussion: """
                Several hosts may be named. Default: QOE_POSTGRES_URL, else \
                postgresql://qoe@127.0.0.1:5432/telemetry. A password belongs into \
                --postgres-password-file, ~/.pgpass or QOE_POSTGRES_URL, not onto the command line.
                """, valueName: "uri"))
    var postgresUrl: String?

    @Option(
        help: ArgumentHelp(
            "File that holds the password and nothing else.",
            discussion: "Default: QOE_POSTGRES_PASSWORD_FILE.", valueName: "path"))
    var postgresPasswordFile: String?

    private static let environment = ProcessInfo.processInfo.environment

    /// What was asked for; complains when the command line shows a password.
    var address: PostgresConnectionString {
        get throws {
            let address = try PostgresConnectionString(
                postgresUrl ?? Self.environment["QOE_POSTGRES_URL"]
                    ?? "postgresql://qoe@127.0.0.1:5432/telemetry",
                applicationName: "qoectl",
                passwordFile: postgresPasswordFile
                    ?? Self.environment["QOE_POSTGRES_PASSWORD_FILE"])
            if postgresUrl != nil, address.holdsPassword {
                complain(
                    "warning: --postgres-url holds a password, which everybody on this machine can "
                        + "see in the list of processes; use --postgres-password-file, ~/.pgpass or "
                        + "QOE_POSTGRES_URL")
            }
            return address
        }
    }

    func connect(
        timeout: Duration = .seconds(30), interrupt: PostgresInterrupt? = nil
    ) throws -> PostgresConnection {
        try PostgresConnection(to: address, timeout: timeout, interrupt: interrupt)
    }
}

/// Where NATS is.
struct NATSOptionGroup: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The NATS servers, separated by commas.",
            discussion: "Default: QOE_NATS_URL, else nats://127.0.0.1:4222.", valueName: "urls"))
    var natsUrl: String?

    @Option(
        help: ArgumentHelp(
            "User that logs in to NATS.", discussion: "Default: QOE_NATS_USER.", valueName: "user"))
    var natsUser: String?

    @Option(
        help: ArgumentHelp(
            "File that holds that user's password and nothing else.",
            discussion: "Default: QOE_NATS_PASSWORD_FILE.", valueName: "path"))
    var natsPasswordFile: String?

    private static let environment = ProcessInfo.processInfo.environment

    var urls: [String] {
        let text = natsUrl ?? Self.environment["QOE_NATS_URL"] ?? "nats://127.0.0.1:4222"
        return text.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
    }

    func validate() throws {
        for url in urls where !url.hasPrefix("nats://") && !url.hasPrefix("tls://") {
            throw ValidationError("--nats-url '\(url)' is not a nats:// or tls:// URL")
        }
        if urls.isEmpty { throw ValidationError("--nats-url is empty") }
        if (login.user == nil) != (login.file == nil) {
            throw ValidationError(
                "--nats-user and --nats-password-file go together, and one of them is not set")
        }
    }

    private var login: (user: String?, file: String?) {
        (
            natsUser ?? Self.environment["QOE_NATS_USER"],
            natsPasswordFile ?? Self.environment["QOE_NATS_PASSWORD_FILE"]
        )
    }

    var options: NATSOptions {
        NATSOptions(
            urls: urls, name: "qoectl",
            credentials: .init(user: login.user, passwordFile: login.file))
    }

    /// Calls `body` with a connection and ends it.
    func connected<Value>(_ body: (NATSConnection) throws -> Value) throws -> Value {
        let connector = NATSConnector(options)
        defer { connector.stop() }
        let connection: NATSConnection
        do throws(NATSError) {
            connection = try connector.waitUntilConnected(within: Self.connectLimit)
        } catch {
            throw CommandFailure(
                "NATS does not answer at \(urls.joined(separator: ", ")) (\(error)); --nats-url "
                    + "says where it is")
        }
        return try body(connection)
    }

    private static let connectLimit = Duration.seconds(5)
}

/// Where the servers are.
struct ServerOptions: ParsableArguments {
    @OptionGroup var database: DatabaseOptions

    @OptionGroup var nats: NATSOptionGroup

    /// Calls `body` with both connections and ends them. The one to NATS may still be under way.
    func connected<Value>(
        _ stop: StopRequest, _ body: (PostgresConnection, NATSConnector) throws -> Value
    ) throws -> Value {
        let connection = try PostgresConnection(
            to: database.address,
            timeout: Self.answerLimit, interrupt: stop.interrupt)
        defer { connection.close() }
        let connector = NATSConnector(nats.options)
        defer { connector.stop() }
        return try body(connection, connector)
    }

    /// How long one answer of the database may take: a verification reads whole tables.
    private static let answerLimit = Duration.seconds(600)
}

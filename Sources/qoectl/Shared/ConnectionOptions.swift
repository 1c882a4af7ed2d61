import ArgumentParser
import Foundation
import NATSClient
import OperatorCore
import Postgres

/// Where the servers are.
struct ServerOptions: ParsableArguments {
    @OptionGroup var database: DatabaseCommand.ConnectionOptions

    @Option(
        help: ArgumentHelp(
            "The NATS servers, separated by commas.",
            discussion: "Default: QOE_NATS_URL, else nats://127.0.0.1:4222.", valueName: "urls"))
    var natsUrl: String?

    var natsURLs: [String] {
        let text =
            natsUrl ?? ProcessInfo.processInfo.environment["QOE_NATS_URL"]
            ?? "nats://127.0.0.1:4222"
        return text.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
    }

    func validate() throws {
        for url in natsURLs where !url.hasPrefix("nats://") && !url.hasPrefix("tls://") {
            throw ValidationError("--nats-url '\(url)' is not a nats:// or tls:// URL")
        }
        if natsURLs.isEmpty { throw ValidationError("--nats-url is empty") }
    }

    /// Calls `body` with both connections and ends them. The one to NATS may still be under way.
    func connected<Value>(
        _ stop: StopRequest, _ body: (PostgresConnection, NATSConnector) throws -> Value
    ) throws -> Value {
        let connection = try PostgresConnection(
            to: PostgresConnectionString(database.url, applicationName: "qoectl"),
            timeout: Self.answerLimit, interrupt: stop.interrupt)
        defer { connection.close() }
        let connector = NATSConnector(NATSOptions(urls: natsURLs, name: "qoectl"))
        defer { connector.stop() }
        return try body(connection, connector)
    }

    /// How long one answer of the database may take: a verification reads whole tables.
    private static let answerLimit = Duration.seconds(600)
}

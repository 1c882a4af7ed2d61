import ArgumentParser
import Foundation
import IngestCore

struct CreateToken: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Makes a token and shows it, this once.",
        discussion: """
              qoectl token create --tokens-file tokens.jsonl --client probe-001
              qoectl token create --tokens-file tokens.jsonl --client 'berlin-*' --days 365
              qoectl token create --tokens-file tokens.jsonl --role fleet-admin --name ops
            The first one makes the pepper file too, which ingest needs beside the tokens file.
            """)

    @OptionGroup var file: TokenCommand.FileOptions
    @OptionGroup var pepper: TokenCommand.PepperOptions

    @Option(
        help: ArgumentHelp(
            "What the token is for: \(TokenRole.list).",
            discussion:
                "probe posts events and heartbeats, fleet-admin administers the fleet, read reads.")
    )
    var role = TokenRole.probe

    @Option(
        name: .customLong("client"),
        help: ArgumentHelp(
            "A client the token may speak for; may be repeated. For the role probe only.",
            discussion: "A name that ends in * stands for all that begin so; * alone for all."))
    var clients: [String] = []

    @Option(help: "For people: whom the token is for.")
    var name = ""

    @Option(help: "The token ends after this many days; without it, it does not end.")
    var days: Int?

    @Option(
        help: ArgumentHelp(
            "Most events a second; without it, what ingest allows to everyone.",
            valueName: "number"))
    var eventsPerSecond: Int?

    @Option(
        help: ArgumentHelp(
            "Most bytes of bodies a second; without it, what ingest allows to everyone.",
            valueName: "number"))
    var bytesPerSecond: Int?

    func validate() throws {
        _ = try TokenCommand.end(afterDays: days)
        if role == .probe, clients.isEmpty {
            throw ValidationError(
                "name whom the token may speak for: --client NAME, or '*' for all")
        }
        if role != .probe, !clients.isEmpty {
            throw ValidationError(
                "--client is for the role probe; a token with the role \(role.rawValue) posts nothing"
            )
        }
        for (flag, limit) in [
            ("events-per-second", eventsPerSecond), ("bytes-per-second", bytesPerSecond),
        ] {
            guard let limit, !TokenEntry.limitRange.contains(limit) else { continue }
            let range = TokenEntry.limitRange
            throw ValidationError(
                "--\(flag) \(limit) is not from \(range.lowerBound) to \(range.upperBound)")
        }
    }

    func run() throws {
        let files = TokenFiles(tokens: try file.path, pepper: pepper.path)
        let hadPepper = FileManager.default.fileExists(atPath: files.pepper)
        let standIn = clients.isEmpty ? role.rawValue : clients.joined(separator: ", ")
        let token = try TokenFile.create(
            name: name.isEmpty ? standIn : name, role: role, clients: clients,
            expires: TokenCommand.end(afterDays: days), eventsPerSecondMax: eventsPerSecond,
            bytesPerSecondMax: bytesPerSecond, in: files.tokens, pepper: files.pepper)
        var advice = "Shown this once; a running ingest knows it within 5 s."
        if !hadPepper {
            advice +=
                "\nMade \(files.pepper) too: every ingest needs it beside the tokens file, and nobody"
                + " else."
        }
        TokenCommand.show(token, advice: advice)
    }
}

extension TokenRole: ExpressibleByArgument {}

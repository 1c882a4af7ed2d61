import ArgumentParser
import Foundation
import IngestCore

/// The tokens that let probes in.
struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "The tokens that clients of ingest show.",
        discussion: """
            The tokens file holds hashes only. ingest reads it at its start and on SIGHUP.
            """,
        subcommands: [Create.self, List.self, Revoke.self])

    struct FileOptions: ParsableArguments {
        @Option(
            help: ArgumentHelp(
                "The tokens file, as ingest reads it.", discussion: "Default: QOE_TOKENS_FILE.",
                valueName: "path"))
        var tokensFile: String?

        var path: String {
            get throws {
                guard
                    let path = tokensFile
                        ?? ProcessInfo.processInfo.environment["QOE_TOKENS_FILE"]
                else { throw ValidationError("name the file with --tokens-file PATH") }
                return path
            }
        }
    }

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a token and shows it, this once.",
            discussion: """
                  qoectl token create --tokens-file tokens.jsonl --client probe-001
                  qoectl token create --tokens-file tokens.jsonl --client 'berlin-*' --days 365
                """)

        @OptionGroup var file: FileOptions

        @Option(
            name: .customLong("client"),
            help: ArgumentHelp(
                "A client the token may speak for; may be repeated.",
                discussion: "A name that ends in * stands for all that begin so; * alone for all."))
        var clients: [String]

        @Option(help: "For people: whom the token is for.")
        var name = ""

        @Option(help: "The token ends after this many days; without it, it does not end.")
        var days: Int?

        func validate() throws {
            if let days, !(1...36_500).contains(days) {
                throw ValidationError("--days \(days) is not from 1 to 36500")
            }
        }

        func run() throws {
            let expires = days.map { Date.now.addingTimeInterval(Double($0) * 86_400) }
            let token = try TokenFile.create(
                name: name.isEmpty ? clients.joined(separator: ", ") : name, clients: clients,
                expires: expires, in: file.path)
            // Alone on standard output, so that a script can take it.
            print(token)
            let advice = "Shown this once; ingest knows it after a SIGHUP or a restart.\n"
            FileHandle.standardError.write(Data(advice.utf8))
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists the tokens: id, clients, dates, name.")

        @OptionGroup var file: FileOptions

        func run() throws {
            for entry in try TokenFile.list(in: file.path) {
                let expiry = entry.expires.map { "until \($0.formatted(.iso8601))" } ?? "no end"
                let isValid = entry.isValid(at: .now)
                print(
                    entry.id, entry.scope.patterns.joined(separator: ","),
                    "since \(entry.created.formatted(.iso8601))",
                    isValid ? expiry : "expired", entry.name, separator: "  ")
            }
        }
    }

    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Removes a token from the file.",
            discussion: "ingest refuses it after a SIGHUP or a restart.")

        @OptionGroup var file: FileOptions

        @Argument(help: "The token's id, or the token itself.")
        var token: String

        func run() throws {
            let entry = try TokenFile.revoke(token, in: file.path)
            print("revoked \(entry.id) (\(entry.name))")
        }
    }
}

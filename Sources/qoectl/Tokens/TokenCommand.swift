import ArgumentParser
import Foundation
import IngestCore

/// The tokens that let probes in.
struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "The tokens that clients of ingest show.",
        discussion: """
            The tokens file holds hashes only, and the pepper file beside it the key of the hashes. ingest \
            reads both at its start, and within 5 s when they change.
            """,
        subcommands: [
            CreateToken.self, ListTokens.self, RotateToken.self, RevokeToken.self,
        ])

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

    /// For what makes secrets.
    struct PepperOptions: ParsableArguments {
        @Option(
            help: ArgumentHelp(
                "The file with the key of the hashes, as ingest reads it.",
                discussion:
                    "Default: QOE_TOKEN_PEPPER_FILE, or the tokens file's name and .pepper.",
                valueName: "path"))
        var tokenPepperFile: String?

        /// Nil takes the file beside the tokens.
        var path: String? {
            tokenPepperFile ?? ProcessInfo.processInfo.environment["QOE_TOKEN_PEPPER_FILE"]
        }
    }

    /// Shows a token: alone on standard output, so that a script can take it.
    static func show(_ token: String, advice: String) {
        print(token)
        FileHandle.standardError.write(Data("\(advice)\n".utf8))
    }

    /// When a token ends that lives for so many days.
    static func end(afterDays days: Int?) throws -> Date? {
        guard let days else { return nil }
        guard (1...daysMax).contains(days) else {
            throw ValidationError("--days \(days) is not from 1 to \(daysMax)")
        }
        return Date.now.addingTimeInterval(Double(days) * 86_400)
    }

    /// A century: as good as no end.
    private static let daysMax = 36_500
}

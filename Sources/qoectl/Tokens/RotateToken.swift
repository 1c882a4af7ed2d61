import ArgumentParser
import Foundation
import IngestCore
import ServiceKit

struct RotateToken: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate",
        abstract: "Gives a token a new secret and shows it, this once.",
        discussion: """
              qoectl token rotate --tokens-file tokens.jsonl 0123456789abcdef --overlap 7d
            The old secret can be used until the overlap ends: replace it where it is used before then.
            """)

    @OptionGroup var file: TokenCommand.FileOptions
    @OptionGroup var pepper: TokenCommand.PepperOptions

    @Argument(help: "The token's id, or the token itself.")
    var token: String

    @Option(
        help: ArgumentHelp(
            "How long the old secret can still be used, from 0s to 365d.", valueName: "duration"))
    var overlap = "7d"

    @Option(
        help: "The token ends after this many days; without it, when it would have ended anyway.")
    var days: Int?

    @Flag(help: "Ends a secret at once that an earlier rotation has left.")
    var force = false

    /// A secret that is to be replaced should not outlive a year.
    private static let overlapRange = Duration.zero ... .seconds(365 * 86_400)

    private var checkedOverlap: Duration {
        get throws {
            guard let duration = UnitText.duration(overlap), Self.overlapRange.contains(duration)
            else {
                throw ValidationError(
                    "--overlap '\(overlap)' is not a duration from 0s to 365d, such as 12h or 7d")
            }
            return duration
        }
    }

    func validate() throws {
        _ = try TokenCommand.end(afterDays: days)
        _ = try checkedOverlap
    }

    func run() throws {
        let (token, entry) = try TokenFile.rotate(
            token, overlap: checkedOverlap, expires: TokenCommand.end(afterDays: days),
            endsOldest: force, in: file.path, pepper: pepper.path)
        let end = entry.overlapEnd(at: .now)
        let old = end.map { "can be used until \($0.formatted(.iso8601))" } ?? "has ended"
        TokenCommand.show(
            token,
            advice: "Shown this once; a running ingest knows it within 5 s. The old secret \(old).")
    }
}

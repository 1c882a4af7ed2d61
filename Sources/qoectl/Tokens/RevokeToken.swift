import ArgumentParser
import IngestCore

struct RevokeToken: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke",
        abstract: "Removes a token from the file, with all its secrets.",
        discussion: "A running ingest refuses it within 5 s.")

    @OptionGroup var file: TokenCommand.FileOptions

    @Argument(help: "The token's id, or the token itself.")
    var token: String

    func run() throws {
        let entry = try TokenFile.revoke(token, in: file.path)
        print("revoked \(entry.id) (\(entry.name))")
    }
}

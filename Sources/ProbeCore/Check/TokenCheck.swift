/// Whether there is a token to post with, and who else can read it.
enum TokenCheck {
    static let name = "token"

    /// The finding, and the token if there is one.
    static func run(_ configuration: ProbeConfiguration) -> (CheckFinding, TokenSource?) {
        let source: TokenSource
        do throws(FileProblem) {
            if let file = configuration.tokenFile {
                source = try TokenSource(file: file)
                guard !source.isReadableByOthers else {
                    let found = "\(file) can be read by every user of this machine"
                    return (.warning(name, found, "chmod 600 \(file)"), source)
                }
                return (.ok(name, "in \(file), which others cannot read"), source)
            }
            source = try TokenSource(text: configuration.token)
        } catch {
            let advice =
                "put the token that ingest has for this probe there, readable by the probe's user"
                + " alone (--token-file)"
            return (.failed(name, "\(error)", advice), nil)
        }
        guard source.current != nil else {
            return (
                .warning(
                    name, "none is set", "name a file with --token-file, unless ingest wants none"),
                source
            )
        }
        return (.ok(name, "set by --token or QOE_TOKEN"), source)
    }
}

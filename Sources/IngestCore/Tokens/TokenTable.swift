internal import FoundationEssentials
internal import Glibc
internal import Synchronization

/// The tokens in use, by id.
struct TokenTable: Sendable {
    private let entries: [String: TokenEntry]
    /// What a secret is compared with when nobody has its id, so that the answer takes as long.
    private static let nobody = SHA256Digest(of: [])

    init(_ entries: [TokenEntry]) {
        self.entries = Dictionary(
            entries.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    }

    var count: Int { entries.count }

    /// The entry of a token, or nil when it is malformed, unknown, wrong or expired: the answer to the
    /// client is the same for all of them.
    func entry(of text: some StringProtocol, at moment: Date) -> TokenEntry? {
        guard let token = TokenText(text) else { return nil }
        let known = entries[token.id]
        let isSecretRight = SHA256Digest(of: token.secret)
            .equals(known?.secretDigest ?? Self.nobody)
        guard let known, isSecretRight, known.isValid(at: moment) else { return nil }
        return known
    }
}

/// The tokens of a file, replaced as a whole when the file is read again.
final class TokenStore: Sendable {
    private let table: Mutex<TokenTable>

    init(path: String) throws(TokenFileError) {
        table = Mutex(TokenTable(try Self.entries(of: path)))
    }

    /// Reads the file again; when it is bad, the old tokens stay.
    func reload(path: String) throws(TokenFileError) {
        let new = TokenTable(try TokenFile.list(in: path))
        table.withLock { $0 = new }
    }

    var count: Int { table.withLock { $0.count } }

    func entry(of text: some StringProtocol, at moment: Date) -> TokenEntry? {
        let table = table.withLock { $0 }
        return table.entry(of: text, at: moment)
    }

    /// The entries to start with: without any, nobody could post.
    static func entries(of path: String) throws(TokenFileError) -> [TokenEntry] {
        guard access(path, F_OK) == 0 else {
            throw TokenFileError(path, "is not there; \(advice(path: path))")
        }
        let entries = try TokenFile.list(in: path)
        guard !entries.isEmpty else {
            throw TokenFileError(path, "holds no token; \(advice(path: path))")
        }
        return entries
    }

    /// How to make the first token.
    static func advice(path: String) -> String {
        "make one with: qoectl token create --tokens-file \(path) --name NAME --client '*'"
    }
}

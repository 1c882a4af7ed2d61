internal import FoundationEssentials
internal import Glibc

/// The tokens in use, by id. A class, so that a request takes hold of it at the cost of one reference.
final class TokenTable: Sendable {
    private struct Row {
        /// Nil in the row of `nobody`.
        let entry: TokenEntry?
        let newest: SecretDigest
        /// Compared in any case, so that the answer takes as long.
        let older: SecretDigest
        /// Nil when there is no older one.
        let olderExpires: Date?

        /// Stands in for the row of an id that is not known.
        static let nobody = Row(entry: nil, newest: .zero, older: .zero, olderExpires: nil)
    }

    private let rows: [UInt64: Row]
    private let pepper: TokenPepper

    init(_ entries: [TokenEntry], pepper: TokenPepper) {
        rows = Dictionary(
            entries.compactMap { entry in
                guard let id = TokenParts.number(of: entry.id.utf8),
                    let newest = entry.secrets.first
                else { return nil }
                let older = entry.secrets.dropFirst().first
                let row = Row(
                    entry: entry, newest: newest.digest, older: older?.digest ?? .zero,
                    olderExpires: older?.expires)
                return (id, row)
            }, uniquingKeysWith: { first, _ in first })
        self.pepper = pepper
    }

    var count: Int { rows.count }

    /// The entry of a token, and until when the secret shown can be used (nil is without end); nil when it
    /// is malformed, unknown, wrong or expired: the answer to the client is the same for all of them.
    ///
    /// An id that nobody has costs the same hash and the same comparisons as one that somebody has.
    func entry(
        of text: UnsafeRawBufferPointer, at moment: Date
    ) -> (entry: TokenEntry, end: Date?)? {
        guard let token = TokenParts(text) else { return nil }
        let row = rows[token.id] ?? .nobody
        let digest = pepper.digest(of: token.secret)
        let isNewest = digest.equals(row.newest)
        let isOlder = digest.equals(row.older)
        guard let entry = row.entry, entry.isValid(at: moment) else { return nil }
        if isNewest { return (entry, entry.expires) }
        guard isOlder, let olderEnd = row.olderExpires, moment < olderEnd else { return nil }
        return (entry, entry.expires.map { min($0, olderEnd) } ?? olderEnd)
    }
}

extension TokenTable {
    /// Reads the files.
    convenience init(_ files: TokenFiles) throws(TokenFileError) {
        let entries = try TokenFile.list(in: files.tokens)
        let pepper = try TokenPepper.read(files)
        for entry in entries { try TokenFile.check(entry, hasPepper: pepper, in: files) }
        self.init(entries, pepper: pepper)
    }

    /// Reads the files to start with: without any token, nobody could post.
    static func first(_ files: TokenFiles) throws(TokenFileError) -> TokenTable {
        guard access(files.tokens, F_OK) == 0 else {
            throw TokenFileError(
                files.tokens, "is not there; \(TokenFile.advice(path: files.tokens))")
        }
        let table = try TokenTable(files)
        guard table.count > 0 else {
            throw TokenFileError(
                files.tokens, "holds no token; \(TokenFile.advice(path: files.tokens))")
        }
        return table
    }
}

package import FoundationEssentials
internal import Glibc
internal import ServiceKit
internal import SystemPackage

/// Why the tokens' files cannot be used or changed; says what to do about it.
package struct TokenFileError: Error, Sendable, CustomStringConvertible {
    package let description: String

    init(_ path: String, _ problem: String) {
        description = "tokens file \(path): \(problem)"
    }

    init(pepper path: String, _ problem: String) {
        description = "token pepper file \(path): \(problem)"
    }
}

/// The file of the tokens that `ingest` accepts: one JSON object per line, without the secrets.
///
///     {"clients":["probe-*"],"created":"2026-01-31T12:00:00Z","id":"0123456789abcdef","name":"office",
///      "pepper":"0011223344556677","role":"probe",
///      "secrets":[{"created":"2026-01-31T12:00:00Z","hmac_sha256":"…"}]}
///
/// (in one line). `expires`, `events_per_second` and `bytes_per_second` are optional; a second, older secret
/// has `expires`. Every change writes the file anew and renames it into its place, so that a reader sees the
/// old or the new one. A new file is readable by its owner only; a changed one keeps its owner and mode.
package enum TokenFile {
    /// Largest file, bytes: room for thousands of tokens.
    private static let byteCountMax = 16 << 20

    /// The tokens of the file, in its order.
    ///
    /// - Throws: ``TokenFileError`` with the line that is wrong.
    package static func list(in path: String) throws(TokenFileError) -> [TokenEntry] {
        let text: String
        do throws(TextFile.ReadError) {
            text = try TextFile.read(path, limit: byteCountMax)
        } catch {
            throw TokenFileError(path, error.description)
        }
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        var entries: [TokenEntry] = []
        var ids: Set<String> = []
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        for (number, line) in zip(1..., lines) where line.contains(where: { !$0.isWhitespace }) {
            let entry: TokenEntry
            do {
                entry = try decoder.decode(TokenEntry.self, from: Data(line.utf8))
            } catch {
                throw TokenFileError(path, "line \(number) is no token: \(problem(error))")
            }
            guard ids.insert(entry.id).inserted else {
                throw TokenFileError(path, "line \(number) has the id of an earlier line")
            }
            entries.append(entry)
        }
        return entries
    }

    /// Makes a token, adds it to the file, and makes the file and the pepper when there are none.
    ///
    /// - Parameters:
    ///   - name: For people: whom the token is for.
    ///   - clients: Whom it may speak for, see ``ClientScope``; of the role ``TokenRole/probe`` only.
    ///   - eventsPerSecondMax: In ``TokenEntry/limitRange``; nil takes what the service allows to everyone.
    ///   - bytesPerSecondMax: As `eventsPerSecondMax`.
    ///   - pepper: The pepper's file; nil takes the one beside the tokens, see ``TokenFiles``.
    /// - Returns: The token, which is nowhere kept: whoever loses it makes another.
    package static func create(
        name: String, role: TokenRole = .probe, clients: [String] = [], expires: Date? = nil,
        eventsPerSecondMax: Int? = nil, bytesPerSecondMax: Int? = nil, in path: String,
        pepper: String? = nil
    ) throws(TokenFileError) -> String {
        let scope = try scope(of: clients, for: role, in: path)
        for limit in [eventsPerSecondMax, bytesPerSecondMax] {
            guard let limit, !TokenEntry.limitRange.contains(limit) else { continue }
            throw TokenFileError(
                path,
                "a limit of \(limit) a second is not from \(TokenEntry.limitRange.lowerBound) to"
                    + " \(TokenEntry.limitRange.upperBound)")
        }
        let files = TokenFiles(tokens: path, pepper: pepper)
        let token = TokenText.random()
        try change(path) { entries throws(TokenFileError) in
            // A new pepper beside old tokens would make all of them useless.
            let pepper =
                entries.isEmpty ? try TokenPepper.readOrMake(files) : try TokenPepper.read(files)
            for entry in entries { try check(entry, hasPepper: pepper, in: files) }
            let created = wholeSeconds(.now)
            entries.append(
                TokenEntry(
                    id: token.id, name: name, role: role, scope: scope, created: created,
                    expires: expires.map(wholeSeconds), eventsPerSecondMax: eventsPerSecondMax,
                    bytesPerSecondMax: bytesPerSecondMax,
                    secrets: [
                        TokenSecret(
                            created: created, expires: nil, digest: pepper.digest(of: token.secret))
                    ],
                    pepperFingerprint: pepper.fingerprint))
        }
        return token.whole
    }

    /// Gives a token a new secret; the old one goes on for a while.
    ///
    /// - Parameters:
    ///   - id: The token's id, or the whole token.
    ///   - overlap: How long the old secret can still be used, unless the token ends before; zero ends it
    ///     with this.
    ///   - expires: A new end of the token; nil keeps the one it has.
    ///   - endsOldest: Ends a secret that an earlier rotation has left, which is refused otherwise: somebody
    ///     may still use it.
    ///   - pepper: The pepper's file, as for ``create(name:role:clients:expires:eventsPerSecondMax:bytesPerSecondMax:in:pepper:)``.
    /// - Returns: The token with the new secret, and its entry.
    package static func rotate(
        _ id: String, overlap: Duration, expires: Date? = nil, endsOldest: Bool = false,
        at moment: Date = .now, in path: String, pepper: String? = nil
    ) throws(TokenFileError) -> (token: String, entry: TokenEntry) {
        let files = TokenFiles(tokens: path, pepper: pepper)
        let now = wholeSeconds(moment)
        let rotated: (String, TokenEntry) = try change(path) { entries throws(TokenFileError) in
            let index = try index(of: id, in: entries, path)
            let old = entries[index]
            let pepper = try TokenPepper.read(files)
            try check(old, hasPepper: pepper, in: files)
            guard old.isValid(at: moment) || expires != nil else {
                throw TokenFileError(path, "the token \(old.id) has ended; give it a new end")
            }
            if let end = old.overlapEnd(at: moment), !endsOldest {
                throw TokenFileError(
                    path,
                    "the token \(old.id) has two secrets until \(end.formatted(.iso8601)); wait until"
                        + " then, or end the older one now with --force")
            }
            let token = TokenText.random(id: old.id)
            var secrets = [
                TokenSecret(created: now, expires: nil, digest: pepper.digest(of: token.secret))
            ]
            if let newest = old.secrets.first, overlap > .zero {
                let seconds = Double(overlap.components.seconds)
                let end = now.addingTimeInterval(seconds)
                secrets.append(
                    TokenSecret(
                        created: newest.created, expires: min(end, old.expires ?? end),
                        digest: newest.digest))
            }
            let entry = TokenEntry(
                id: old.id, name: old.name, role: old.role, scope: old.scope, created: old.created,
                expires: expires.map(wholeSeconds) ?? old.expires,
                eventsPerSecondMax: old.eventsPerSecondMax,
                bytesPerSecondMax: old.bytesPerSecondMax, secrets: secrets,
                pepperFingerprint: old.pepperFingerprint)
            entries[index] = entry
            return (token.whole, entry)
        }
        return rotated
    }

    /// Removes a token; `ingest` refuses it a few seconds later.
    ///
    /// - Parameter id: The token's id, or the whole token.
    /// - Returns: What was removed.
    @discardableResult
    package static func revoke(
        _ id: String, in path: String
    ) throws(TokenFileError) -> TokenEntry {
        try change(path) { entries throws(TokenFileError) in
            entries.remove(at: try index(of: id, in: entries, path))
        }
    }

    /// How to make the first token.
    static func advice(path: String) -> String {
        "make one with: qoectl token create --tokens-file \(path) --name NAME --client '*'"
    }

    /// Throws when a token was made with another pepper, under which it would never be recognised.
    static func check(
        _ entry: TokenEntry, hasPepper pepper: TokenPepper, in files: TokenFiles
    ) throws(TokenFileError) {
        guard entry.pepperFingerprint != pepper.fingerprint else { return }
        throw TokenFileError(
            files.tokens,
            "the token \(entry.id) was made with another pepper than the one in \(files.pepper);"
                + " bring back the right one, or delete the token's line and make it anew with"
                + " 'qoectl token create'")
    }

    private static func index(
        of id: String, in entries: [TokenEntry], _ path: String
    ) throws(TokenFileError) -> Int {
        // Text that is no id may be a secret, and is not repeated.
        guard let id = TokenText.id(in: id) else {
            throw TokenFileError(path, "what was given is neither a token nor the id of one")
        }
        guard let index = entries.firstIndex(where: { $0.id == id }) else {
            throw TokenFileError(path, "has no token with the id \(id)")
        }
        return index
    }

    private static func scope(
        of clients: [String], for role: TokenRole, in path: String
    ) throws(TokenFileError) -> ClientScope {
        guard role == .probe else {
            guard clients.isEmpty else {
                throw TokenFileError(
                    path, "a token with the role \(role.rawValue) speaks for no client")
            }
            return .nobody
        }
        do throws(ClientScope.Problem) {
            return try ClientScope(clients)
        } catch {
            throw TokenFileError(path, "the clients \(error.description)")
        }
    }

    /// As the file keeps it, which has no fractions of seconds.
    private static func wholeSeconds(_ moment: Date) -> Date {
        Date(timeIntervalSince1970: moment.timeIntervalSince1970.rounded(.down))
    }

    /// Reads, changes and writes the file, alone among all who change it.
    private static func change<Result>(
        _ path: String, _ body: (inout [TokenEntry]) throws(TokenFileError) -> Result
    ) throws(TokenFileError) -> Result {
        let lock = try lock(path)
        defer { try? lock.close() }
        var entries = access(path, F_OK) == 0 ? try list(in: path) : []
        let result = try body(&entries)
        try write(entries, to: path)
        return result
    }

    /// A lock beside the file, since the file itself is replaced.
    private static func lock(_ path: String) throws(TokenFileError) -> FileDescriptor {
        do {
            let descriptor = try FileDescriptor.open(
                FilePath("\(path).lock"), .readWrite, options: [.create, .closeOnExec],
                permissions: [.ownerReadWrite])
            while flock(descriptor.rawValue, LOCK_EX) != 0 {
                guard errno == EINTR else { throw Errno(rawValue: errno) }
            }
            return descriptor
        } catch {
            throw TokenFileError(path, "cannot be locked: \(error)")
        }
    }

    private static func write(
        _ entries: [TokenEntry], to path: String
    ) throws(TokenFileError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        do {
            var bytes: [UInt8] = []
            for entry in entries {
                bytes += try encoder.encode(entry)
                bytes.append(UInt8(ascii: "\n"))
            }
            try PrivateFile.write(bytes, to: path, replaces: true)
        } catch {
            throw TokenFileError(path, "cannot be written: \(error)")
        }
    }

    /// What is wrong with a line, without its content, which may hold what was meant to be secret.
    private static func problem(_ error: any Error) -> String {
        switch error {
        case DecodingError.keyNotFound(let key, _): "'\(key.stringValue)' is missing"
        case DecodingError.typeMismatch(_, let context),
            DecodingError.valueNotFound(_, let context):
            "'\(path(context))' has another type"
        case DecodingError.dataCorrupted(let context) where context.codingPath.isEmpty:
            "not JSON"
        case DecodingError.dataCorrupted(let context):
            "'\(path(context))': \(context.debugDescription)"
        default: "cannot be read"
        }
    }

    private static func path(_ context: DecodingError.Context) -> String {
        context.codingPath.map(\.stringValue).joined(separator: ".")
    }
}

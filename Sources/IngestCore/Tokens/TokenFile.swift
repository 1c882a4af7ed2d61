package import FoundationEssentials
internal import Glibc
internal import ServiceKit
internal import SystemPackage

/// Why a tokens file cannot be used or changed; says what to do about it.
package struct TokenFileError: Error, Sendable, CustomStringConvertible {
    package let description: String

    init(_ path: String, _ problem: String) {
        description = "tokens file \(path): \(problem)"
    }
}

/// The file of the tokens that `ingest` accepts: one JSON object per line, without the secrets.
///
///     {"clients":["probe-*"],"created":"2026-01-31T12:00:00Z","id":"0123456789abcdef",
///      "name":"office","sha256":"…"}
///
/// (in one line). `expires` is optional. Every change writes the file anew and renames it into its place,
/// so that a reader sees the old or the new one, and keeps it readable by its owner only.
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

    /// Makes a token, adds it to the file, and makes the file when there is none.
    ///
    /// - Parameters:
    ///   - name: For people: whom the token is for.
    ///   - clients: Whom it may speak for; see ``ClientScope``.
    /// - Returns: The token, which is nowhere kept: whoever loses it makes another.
    package static func create(
        name: String, clients: [String], expires: Date? = nil, in path: String
    ) throws(TokenFileError) -> String {
        let scope: ClientScope
        do throws(ClientScope.Problem) {
            scope = try ClientScope(clients)
        } catch {
            throw TokenFileError(path, "the clients \(error.description)")
        }
        let token = TokenText.random()
        // As the file keeps it, which has no fractions of seconds.
        let created = Date(timeIntervalSince1970: Date.now.timeIntervalSince1970.rounded(.down))
        let entry = TokenEntry(
            id: token.id, name: name, scope: scope, created: created, expires: expires,
            secretDigest: SHA256Digest(of: token.secret))
        try change(path) { entries throws(TokenFileError) in
            entries.append(entry)
        }
        return token.whole
    }

    /// Removes a token; `ingest` refuses it from its next SIGHUP on.
    ///
    /// - Parameter id: The token's id, or the whole token.
    /// - Returns: What was removed.
    @discardableResult
    package static func revoke(
        _ id: String, in path: String
    ) throws(TokenFileError) -> TokenEntry {
        let id = TokenText(id)?.id ?? id
        var removed: TokenEntry?
        try change(path) { entries throws(TokenFileError) in
            guard let index = entries.firstIndex(where: { $0.id == id }) else {
                throw TokenFileError(path, "has no token with the id \(id)")
            }
            removed = entries.remove(at: index)
        }
        guard let removed else { preconditionFailure("a change that changed nothing") }
        return removed
    }

    /// Reads, changes and writes the file, alone among all who change it.
    private static func change(
        _ path: String, _ body: (inout [TokenEntry]) throws(TokenFileError) -> Void
    ) throws(TokenFileError) {
        let lock = try lock(path)
        defer { try? lock.close() }
        var entries = access(path, F_OK) == 0 ? try list(in: path) : []
        try body(&entries)
        try write(entries, to: path)
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
        let temporary = "\(path).\(getpid()).new"
        do {
            var bytes: [UInt8] = []
            for entry in entries {
                bytes += try encoder.encode(entry)
                bytes.append(UInt8(ascii: "\n"))
            }
            let descriptor = try FileDescriptor.open(
                FilePath(temporary), .writeOnly, options: [.create, .truncate, .closeOnExec],
                permissions: [.ownerReadWrite])
            try descriptor.closeAfter {
                _ = try descriptor.writeAll(bytes)
                // The name must not point to a file whose bytes a power cut can still take.
                guard fsync(descriptor.rawValue) == 0 else { throw Errno(rawValue: errno) }
            }
            guard rename(temporary, path) == 0 else { throw Errno(rawValue: errno) }
        } catch {
            unlink(temporary)
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

internal import Synchronization

/// The token that posts carry.
///
/// A token from a file is read again when a server does not know it, so that it can be replaced
/// while the probe runs.
package final class TokenSource: Sendable {
    private let file: String?
    private let token: Mutex<String?>

    /// Longest token with its surrounding white space, bytes.
    private static let fileBytesMax = 4096

    /// No token, or one that was given as text.
    ///
    /// - Throws: ``FileProblem`` when the text cannot be a token.
    package init(text: String?) throws(FileProblem) {
        file = nil
        let checked: String?
        if let text { checked = try Self.check(text, from: "the token") } else { checked = nil }
        token = Mutex(checked)
    }

    /// The token in a file.
    ///
    /// - Throws: ``FileProblem`` when the file cannot be read or holds no token.
    package init(file: String) throws(FileProblem) {
        self.file = file
        token = Mutex(try Self.read(file))
    }

    /// The token, nil when posts carry none.
    package var current: String? { token.withLock { $0 } }

    /// Reads the file again; without one, or with an unusable one, the token stays.
    ///
    /// - Returns: Whether the token changed.
    package func reload() -> Bool {
        guard let file, let read = try? Self.read(file) else { return false }
        return token.withLock { token in
            defer { token = read }
            return token != read
        }
    }

    /// Whether others than the owner and the group may read the token's file.
    package var isReadableByOthers: Bool {
        file.map { SmallFile.isReadableByOthers($0) } ?? false
    }

    private static func read(_ path: String) throws(FileProblem) -> String {
        try check(try SmallFile.read(path, bytesMax: fileBytesMax), from: path)
    }

    private static func check(_ text: String, from source: String) throws(FileProblem) -> String {
        let token = text.split(whereSeparator: \.isWhitespace)
        guard token.count == 1, let only = token.first,
            only.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else {
            throw FileProblem(source, "must hold one token of printable ASCII and nothing else")
        }
        return String(only)
    }
}

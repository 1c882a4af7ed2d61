internal import Glibc

/// Where the tokens are kept.
package struct TokenFiles: Hashable, Sendable {
    /// One line for each token; see ``TokenFile``.
    package let tokens: String
    /// The key of the hashes in it.
    package let pepper: String

    /// - Parameter pepper: Nil takes the file beside the tokens, which ends in `.pepper`.
    package init(tokens: String, pepper: String? = nil) {
        self.tokens = tokens
        self.pepper = pepper ?? "\(tokens).pepper"
    }

    /// Whether others than the owner and the group may read the pepper; false when that cannot be told.
    var isPepperReadableByOthers: Bool {
        var status = stat()
        return stat(pepper, &status) == 0 && status.st_mode & S_IROTH != 0
    }

    var paths: [String] { [tokens, pepper] }
}

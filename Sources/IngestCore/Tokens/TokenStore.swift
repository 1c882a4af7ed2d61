internal import FoundationEssentials
internal import Glibc
internal import Synchronization

/// The tokens of the files, replaced as a whole when the files are read again.
final class TokenStore: Sendable {
    private struct Current {
        var table: TokenTable
        /// Grows with each reading.
        var generation: UInt64
        var loaded: Date
    }

    /// A token that was found good: enough to know at no cost that it still is.
    struct Proof: Sendable {
        let entry: TokenEntry
        /// When the secret that was shown ends; nil is without end.
        fileprivate let end: Date?
        fileprivate let generation: UInt64
    }

    private let current: Mutex<Current>
    /// The same as in `current`, to be read without its lock.
    private let generation = Atomic<UInt64>(0)
    /// Held while files are read, so that what was read first is not put in place last.
    private let source: Mutex<(files: TokenFiles, version: FilesVersion)>

    /// Reads the files.
    ///
    /// - Throws: ``TokenFileError``, also when there is no token.
    init(_ files: TokenFiles) throws(TokenFileError) {
        // Taken first: what changes while it is read is read again.
        let version = FilesVersion(of: files.paths)
        let table = try TokenTable.first(files)
        current = Mutex(Current(table: table, generation: 0, loaded: .now))
        source = Mutex((files, version))
    }

    /// Reads the files again, from now on these; when they are bad, the old tokens stay.
    func reload(_ files: TokenFiles) throws(TokenFileError) {
        try source.withLock { source throws(TokenFileError) in
            let version = FilesVersion(of: files.paths)
            let table = try TokenTable(files)
            source = (files, version)
            let number = current.withLock { current in
                current.generation &+= 1
                current.table = table
                current.loaded = .now
                return current.generation
            }
            generation.store(number, ordering: .releasing)
        }
    }

    var count: Int { current.withLock { $0.table.count } }

    /// When the tokens in use were read.
    var loaded: Date { current.withLock { $0.loaded } }

    /// The proof of the UTF-8 bytes of a token, or nil when it is malformed, unknown, wrong or expired; allocates nothing.
    func proof(of text: UnsafeRawBufferPointer, at moment: Date) -> Proof? {
        let (table, generation) = current.withLock { ($0.table, $0.generation) }
        return table.entry(of: text, at: moment).map { entry, end in
            Proof(entry: entry, end: end, generation: generation)
        }
    }

    /// Whether a token that was found good would be found good again, in the same way.
    func stillHolds(_ proof: Proof, at moment: Date) -> Bool {
        proof.generation == generation.load(ordering: .acquiring)
            && proof.end.map { moment < $0 } ?? true
    }
}

extension TokenStore: WatchedFiles {
    var seen: (paths: [String], version: FilesVersion) {
        let (files, version) = source.withLock { $0 }
        return (files.paths, version)
    }

    func readAgain() throws(TokenFileError) {
        try reload(source.withLock { $0.files })
    }
}

/// The list of a backup's files, by which it is known to be whole.
package struct BackupManifest: Sendable, Equatable {
    package static let fileName = "MANIFEST"
    package static let databaseFile = "database.dump"
    package static let streamsFile = "streams.json"
    /// The copy of the installation's folder.
    package static let installationFolder = "installation"

    package struct Entry: Sendable, Equatable {
        package let path: String
        package let byteCount: Int
        package let digest: ContentDigest

        package init(path: String, byteCount: Int, digest: ContentDigest) {
            self.path = path
            self.byteCount = byteCount
            self.digest = digest
        }
    }

    /// By their paths.
    package let entries: [Entry]

    package init(_ entries: [Entry]) {
        self.entries = entries.sorted { $0.path < $1.path }
    }

    /// Lines of digest, length in bytes and path.
    package var text: String {
        entries.map { "\($0.digest) \($0.byteCount) \($0.path)\n" }.joined()
    }

    /// - Throws: ``MaterialError`` when the text is no such list, or names a file outside of the backup.
    package init(parsing text: String) throws(MaterialError) {
        var entries: [Entry] = []
        for (index, line) in text.split(separator: "\n").enumerated() {
            let words = line.split(separator: " ", maxSplits: 2)
            guard words.count == 3, let digest = ContentDigest(hex: String(words[0])),
                let byteCount = Int(words[1]), byteCount >= 0, Self.isInside(words[2])
            else {
                throw MaterialError(problems: [
                    "\(Self.fileName), line \(index + 1): not a digest, a length and a path"
                ])
            }
            entries.append(Entry(path: String(words[2]), byteCount: byteCount, digest: digest))
        }
        self.init(entries)
    }

    private static func isInside(_ path: Substring) -> Bool {
        !path.hasPrefix("/")
            && !path.split(separator: "/", omittingEmptySubsequences: false).contains {
                $0.isEmpty || $0 == "." || $0 == ".."
            }
    }
}

/// A file as it shall be on a machine.
package struct RenderedFile: Sendable, Hashable {
    /// Below the folder of the installation on the machine; no part of it is `.` or `..`.
    package let path: String
    package let content: [UInt8]
    package let mode: UInt16
    /// Of user and group, as a number: the container's user has no name on the machine.
    package let owner: UInt32
    package let digest: ContentDigest

    package init(_ path: String, _ content: [UInt8], mode: UInt16 = 0o644, owner: UInt32 = 0) {
        self.path = path
        self.content = content
        self.mode = mode
        self.owner = owner
        digest = ContentDigest(content)
    }

    package init(_ path: String, _ text: String, mode: UInt16 = 0o644, owner: UInt32 = 0) {
        self.init(path, Array(text.utf8), mode: mode, owner: owner)
    }

    /// All that makes it what it is, in a line.
    package var fingerprint: FileFingerprint {
        FileFingerprint(digest: digest.hex, mode: mode, owner: owner)
    }

    /// Folders above it, the outermost first.
    package var folders: [String] {
        let parts = path.split(separator: "/").dropLast()
        return parts.indices.map { parts[parts.startIndex...$0].joined(separator: "/") }
    }
}

/// What a file is, without its content.
package struct FileFingerprint: Sendable, Hashable {
    package let digest: String
    package let mode: UInt16
    package let owner: UInt32

    package init(digest: String, mode: UInt16, owner: UInt32) {
        self.digest = digest
        self.mode = mode
        self.owner = owner
    }
}

/// A folder of the installation on a machine that is not root's alone.
package struct RenderedFolder: Sendable, Hashable {
    package let path: String
    package let mode: UInt16
    package let owner: UInt32

    package init(_ path: String, mode: UInt16, owner: UInt32) {
        self.path = path
        self.mode = mode
        self.owner = owner
    }
}

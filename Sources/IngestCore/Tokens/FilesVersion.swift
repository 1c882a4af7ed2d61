internal import Glibc

/// Which version of the tokens' files is there: changes whenever one of them is replaced or rewritten.
struct FilesVersion: Hashable, Sendable {
    private let tokens: Stamp?
    private let pepper: Stamp?

    /// Looks at the files, without reading them.
    init(of files: TokenFiles) {
        tokens = Stamp(of: files.tokens)
        pepper = Stamp(of: files.pepper)
    }

    private struct Stamp: Hashable {
        let device: UInt64
        let inode: UInt64
        let byteCount: Int64
        /// Seconds and nanoseconds.
        let modified: [Int]
        /// Of content, owner or mode; nobody can set it to what it was.
        let changed: [Int]

        /// Nil when there is no such file or it cannot be asked.
        init?(of path: String) {
            var status = stat()
            guard stat(path, &status) == 0 else { return nil }
            device = UInt64(status.st_dev)
            inode = UInt64(status.st_ino)
            byteCount = Int64(status.st_size)
            modified = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec]
            changed = [status.st_ctim.tv_sec, status.st_ctim.tv_nsec]
        }
    }
}

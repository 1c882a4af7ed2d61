internal import Glibc

/// Which version of some files is there: changes whenever one of them is replaced or rewritten.
struct FilesVersion: Hashable, Sendable {
    private let stamps: [Stamp?]

    /// Looks at the files, without reading them.
    init(of paths: [String]) {
        stamps = paths.map(Stamp.init)
    }

    private struct Stamp: Hashable, Sendable {
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

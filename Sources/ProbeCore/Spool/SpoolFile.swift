internal import Glibc

/// A file of the spool that is written at given places.
final class SpoolFile {
    private let path: String
    private let descriptor: Int32

    /// Opens a file, making it when there is none; `emptied` removes what it holds.
    init(_ path: String, emptied: Bool) throws(FileProblem) {
        self.path = path
        let flags = O_WRONLY | O_CREAT | O_CLOEXEC | (emptied ? O_TRUNC : 0)
        descriptor = open(path, flags, 0o600)
        guard descriptor >= 0 else { throw FileProblem(path, "cannot be written", errno) }
    }

    deinit { close(descriptor) }

    /// Writes all of `bytes` at `offset`, or fails and leaves the file as long as it was, if that can be done.
    func write(_ bytes: [UInt8], at offset: Int) throws(FileProblem) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                pwrite(
                    descriptor, buffer.baseAddress?.advanced(by: written), bytes.count - written,
                    off_t(offset + written))
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else {
                let number = count == 0 ? ENOSPC : errno
                _ = ftruncate(descriptor, off_t(offset))
                throw FileProblem(path, "cannot be written", number)
            }
            written += count
        }
    }

    /// Cuts the file off at `byteCount`.
    func truncate(to byteCount: Int) throws(FileProblem) {
        guard ftruncate(descriptor, off_t(byteCount)) == 0 else {
            throw FileProblem(path, "cannot be cut off", errno)
        }
    }

    /// Replaces what a small file holds, without a moment at which it holds less than one of the two.
    static func overwrite(_ path: String, with bytes: [UInt8]) throws(FileProblem) {
        let file = try SpoolFile(path, emptied: false)
        try file.write(bytes, at: 0)
        try file.truncate(to: bytes.count)
    }

    /// Another descriptor of the same file, so that it can be synchronised while this one is in use; nil when
    /// the system has none left.
    var duplicate: Int32? {
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        return copy >= 0 ? copy : nil
    }

    /// The first `bytesMax` bytes of a file.
    static func bytes(of path: String, bytesMax: Int) throws(FileProblem) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileProblem(path, "cannot be read", errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw FileProblem(path, "cannot be read", errno)
        }
        let size = min(max(0, Int(status.st_size)), bytesMax)
        return try bytes(of: descriptor, path, 0..<size)
    }

    /// Some stretches of a file, each as much as there is of it.
    static func bytes(
        of path: String, _ stretches: [Range<Int>]
    ) throws(FileProblem) -> [[UInt8]] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileProblem(path, "cannot be read", errno) }
        defer { close(descriptor) }
        var result: [[UInt8]] = []
        for stretch in stretches { result.append(try bytes(of: descriptor, path, stretch)) }
        return result
    }

    private static func bytes(
        of descriptor: Int32, _ path: String, _ stretch: Range<Int>
    ) throws(FileProblem) -> [UInt8] {
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: stretch.count) { buffer, filled in
            while filled < stretch.count {
                let count = pread(
                    descriptor, buffer.baseAddress?.advanced(by: filled),
                    stretch.count - filled, off_t(stretch.lowerBound + filled))
                if count < 0 && errno == EINTR { continue }
                if count < 0 { failure = errno }
                guard count > 0 else { break }
                filled += count
            }
        }
        guard failure == 0 else { throw FileProblem(path, "cannot be read", failure) }
        return bytes
    }

    /// Makes what was done in a folder outlive a power cut, as far as the system can.
    static func synchroniseFolder(_ path: String) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        // File systems that cannot synchronise a folder say so; there is nothing else to do.
        _ = fsync(descriptor)
        close(descriptor)
    }

    /// The names in a folder.
    static func names(in folder: String) throws(FileProblem) -> [String] {
        guard let stream = opendir(folder) else {
            throw FileProblem(folder, "cannot be listed", errno)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) { name in
                    name.withMemoryRebound(
                        to: CChar.self, capacity: MemoryLayout.size(ofValue: name.pointee)
                    ) { String(cString: $0) }
                })
        }
        return names
    }

    /// Removes a file; one that is not there is removed.
    static func remove(_ path: String) throws(FileProblem) {
        guard unlink(path) == 0 || errno == ENOENT else {
            throw FileProblem(path, "cannot be removed", errno)
        }
    }
}

internal import Glibc
internal import SystemPackage

/// Files that only their owner may read.
enum PrivateFile {
    /// Writes a file whole: whoever reads it meanwhile sees what was there before or all of this.
    ///
    /// - Parameter replaces: False leaves a file that is there alone.
    /// - Throws: `Errno`; `Errno.fileExists` when it was not to be replaced.
    static func write(_ bytes: [UInt8], to path: String, replaces: Bool) throws {
        let temporary = "\(path).\(getpid()).new"
        do {
            // One that a crash left behind may have another mode.
            unlink(temporary)
            let descriptor = try FileDescriptor.open(
                FilePath(temporary), .writeOnly,
                options: [.create, .exclusiveCreate, .closeOnExec],
                permissions: [.ownerReadWrite])
            try descriptor.closeAfter {
                _ = try descriptor.writeAll(bytes)
                // The name must not point to a file whose bytes a power cut can still take.
                guard fsync(descriptor.rawValue) == 0 else { throw Errno(rawValue: errno) }
            }
            if replaces {
                guard rename(temporary, path) == 0 else { throw Errno(rawValue: errno) }
            } else {
                guard link(temporary, path) == 0 else { throw Errno(rawValue: errno) }
                unlink(temporary)
            }
        } catch {
            unlink(temporary)
            throw error
        }
    }
}

internal import Glibc
internal import SystemPackage

/// Files that only their owner may read.
enum PrivateFile {
    /// Writes a file whole: whoever reads it meanwhile sees what was there before or all of this.
    ///
    /// A file that is replaced keeps its owner and mode, so that who could read it still can: root may change
    /// what a service reads as another user.
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
                if replaces { try copyAccess(of: path, to: descriptor) }
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

    /// Gives a new file the owner, group and mode of one that is there.
    private static func copyAccess(of path: String, to new: FileDescriptor) throws {
        var old = stat()
        guard stat(path, &old) == 0 else { return }
        let permissions = mode_t(0o777)
        guard fchown(new.rawValue, old.st_uid, old.st_gid) == 0,
            fchmod(new.rawValue, old.st_mode & permissions) == 0
        else { throw Errno(rawValue: errno) }
    }
}

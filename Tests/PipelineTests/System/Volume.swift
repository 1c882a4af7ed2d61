import Glibc

/// A small file system in memory that a test can fill up.
final class Volume: Sendable {
    let path: String

    /// Why there can be none; nil when there can.
    static let obstacle: String? = {
        guard geteuid() == 0 else { return "mounting needs root" }
        var template = Array("/tmp/qoe-volume-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { return "no temporary folder" }
        defer { rmdir(template) }
        guard mount("tmpfs", template, "tmpfs", 0, "size=1m") == 0 else {
            return "mount failed: \(String(cString: strerror(errno)))"
        }
        umount2(template, Int32(MNT_DETACH))
        return nil
    }()

    /// Mounts a file system of so many mebibytes on the new folder `path`.
    init?(path: String, mebibytes: Int) {
        self.path = path
        mkdir(path, 0o755)
        guard mount("tmpfs", path, "tmpfs", 0, "size=\(mebibytes)m,mode=755") == 0 else {
            return nil
        }
    }

    private var ballast: String { "\(path)/ballast" }

    /// Takes all the room that is left.
    func fill() {
        let file = open(ballast, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard file >= 0 else { return }
        defer { close(file) }
        var chunk = [UInt8](repeating: 0x55, count: 1 << 20)
        // Ever smaller pieces, until not a byte fits.
        while !chunk.isEmpty {
            let written = write(file, chunk, chunk.count)
            if written <= 0 { chunk.removeLast(chunk.count - chunk.count / 2) }
        }
    }

    func free() { unlink(ballast) }

    func unmount() {
        umount2(path, Int32(MNT_DETACH))
    }
}

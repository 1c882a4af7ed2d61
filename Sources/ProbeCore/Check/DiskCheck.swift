internal import Glibc

/// Whether the disk has the room that the spool may take.
enum DiskCheck {
    static let name = "disk"

    /// - Parameter place: A folder of the file system that the spool lies, or will lie, on.
    static func run(_ place: String?, spoolFolder: String, limits: SpoolLimits) -> CheckFinding {
        guard let place else { return .skipped(name, "there is no state folder") }
        var status = statvfs()
        guard statvfs(place, &status) == 0 else {
            return .skipped(name, "the system does not tell how much room \(place) has")
        }
        let (free, isBeyond) = UInt64(status.f_bavail).multipliedReportingOverflow(
            by: UInt64(status.f_frsize))
        return judge(
            freeBytes: isBeyond ? .max : free, usedBytes: bytes(in: spoolFolder),
            bytesMax: UInt64(clamping: limits.bytesMax))
    }

    /// - Parameter usedBytes: What the spool has already.
    static func judge(freeBytes: UInt64, usedBytes: UInt64, bytesMax: UInt64) -> CheckFinding {
        let needed = bytesMax > usedBytes ? bytesMax - usedBytes : 0
        let found =
            "\(mebibytes(freeBytes)) free, the spool has \(mebibytes(usedBytes)) and may grow to"
            + " \(mebibytes(bytesMax))"
        guard freeBytes >= needed else {
            return .warning(
                name, found,
                "make room, or lower --spool-max-bytes: on a full disk events wait in memory, and"
                    + " few of them")
        }
        return .ok(name, found)
    }

    private static func mebibytes(_ bytes: UInt64) -> String {
        "\(bytes >> 20) MiB"
    }

    private static func bytes(in folder: String) -> UInt64 {
        guard let listing = opendir(folder) else { return 0 }
        defer { closedir(listing) }
        var sum: UInt64 = 0
        while let entry = readdir(listing) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            var status = stat()
            guard stat("\(folder)/\(name)", &status) == 0, status.st_mode & S_IFMT == S_IFREG
            else { continue }
            sum &+= UInt64(clamping: status.st_size)
        }
        return sum
    }
}

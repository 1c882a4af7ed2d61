internal import Glibc

/// A lock of this machine (flock(2)), for the folder of an installation; it ends with its process.
package enum FileLock {
    private static let holderByteMax = 300

    /// Calls `body` with the file locked; the file is made when missing, and stays.
    ///
    /// - Parameters:
    ///   - path: The file's.
    ///   - folder: What is locked by it, as others are told.
    ///   - holder: Who it is for, as others are told.
    /// - Throws: ``DeploymentFailure`` with one line when somebody else has it; what `body` throws.
    package static func hold<Value>(
        _ path: String, of folder: String, holder: String, _ body: () throws -> Value
    ) throws -> Value {
        let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw DeploymentFailure([
                "\(path) cannot be opened: \(unsafe String(cString: strerror(errno)))"
            ])
        }
        // Also ends the lock.
        defer { close(descriptor) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            guard code == EWOULDBLOCK else {
                throw DeploymentFailure([
                    "\(path) cannot be locked: \(unsafe String(cString: strerror(code)))"
                ])
            }
            throw DeploymentFailure([
                "\(folder) is in use by \(content(descriptor)); wait until that has ended"
            ])
        }
        let text = Array("\(holder), process \(getpid())\n".utf8)
        _ = ftruncate(descriptor, 0)
        _ = unsafe text.withUnsafeBytes { unsafe pwrite(descriptor, $0.baseAddress, $0.count, 0) }
        return try body()
    }

    private static func content(_ descriptor: Int32) -> String {
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: holderByteMax) { buffer, filled in
            let count = unsafe pread(descriptor, buffer.baseAddress, buffer.count, 0)
            filled = max(0, count)
        }
        let line = PrintableText.line(
            String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
        return line.isEmpty ? "somebody" : line
    }
}

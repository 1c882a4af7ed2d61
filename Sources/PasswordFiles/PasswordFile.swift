#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// A file that holds a password and nothing else, as container platforms mount secrets.
///
/// Read anew for each connection: a password that was changed in the file needs no restart.
package struct PasswordFile: Sendable {
    package let path: String

    package init(path: String) { self.path = path }

    /// Why a file has no password: names the file and shows nothing of what is in it.
    package struct Problem: Error, Sendable {
        package let message: String
    }

    /// More is not a password, but a file that was mixed up.
    private static let longestByteCount = 4096

    /// The password: the file's text without the line feed at its end.
    ///
    /// - Throws: ``Problem``, which is worth another try: a secret may be mounted, or replaced, at this moment.
    package func read() throws(Problem) -> String {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(reason(errno)) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: Self.longestByteCount + 1)
        while bytes.count <= Self.longestByteCount {
            let count = unsafe chunk.withUnsafeMutableBytes { buffer in
                unsafe readRetrying(descriptor, buffer)
            }
            guard count >= 0 else { throw failure(reason(errno)) }
            guard count > 0 else { break }
            bytes += chunk[..<count]
        }
        guard bytes.count <= Self.longestByteCount else {
            throw failure("is longer than \(Self.longestByteCount) bytes: it is no password alone")
        }
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        guard !bytes.isEmpty else { throw failure("is empty") }
        guard !bytes.contains(UInt8(ascii: "\n")) else {
            throw failure("has more than one line: it must hold the password alone")
        }
        guard !bytes.contains(0), let password = String(validating: bytes, as: UTF8.self) else {
            throw failure("is not text")
        }
        return password
    }

    private func reason(_ error: Int32) -> String {
        switch error {
        case ENOENT: "does not exist"
        case EACCES: "may not be read by user \(getuid()); change its owner or mode"
        case EISDIR: "is a folder, not a file"
        default: "cannot be read: \(unsafe String(cString: strerror(error)))"
        }
    }

    private func failure(_ what: String) -> Problem {
        Problem(message: "the password file \(path) \(what)")
    }
}

/// `read(2)` until a signal does not interrupt it.
private func readRetrying(_ descriptor: Int32, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
    while true {
        let count = unsafe read(descriptor, buffer.baseAddress, buffer.count)
        if count >= 0 || errno != EINTR { return count }
    }
}

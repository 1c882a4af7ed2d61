internal import Glibc

/// The folder that a local stack keeps everything in, and that only one stack uses at a time.
package struct StackFolder: Sendable, Equatable {
    /// Its absolute path.
    package let path: String

    /// - Parameter path: Absolute, or relative to the working folder.
    package init(_ path: String) {
        // Without what says nothing, as in './data' and 'data/': the path is shown to people.
        let words = path.split(separator: "/").filter { $0 != "." }.joined(separator: "/")
        if path.hasPrefix("/") {
            self.path = "/\(words)"
        } else {
            var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
            let hasFolder = buffer.withUnsafeMutableBytes { bytes in
                getcwd(bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count) != nil
            }
            let folder = hasFolder ? String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self) : ""
            self.path = words.isEmpty ? folder : "\(folder)/\(words)"
        }
    }

    /// Where a stack lives unless told otherwise: for root `/var/lib/qoe-local`, since PostgreSQL
    /// runs as another account that cannot pass through root's home; else `qoe-local` under
    /// `$XDG_DATA_HOME` (`~/.local/share`).
    package static var standard: StackFolder {
        if geteuid() == 0 { return StackFolder("/var/lib/qoe-local") }
        if let data = getenv("XDG_DATA_HOME").map({ String(cString: $0) }), data.hasPrefix("/") {
            return StackFolder("\(data)/qoe-local")
        }
        let home = getenv("HOME").map { String(cString: $0) } ?? "/tmp"
        return StackFolder("\(home)/.local/share/qoe-local")
    }

    var postgres: String { "\(path)/postgres" }
    var nats: String { "\(path)/nats" }
    var targets: String { "\(path)/targets" }
    var tokensFile: String { "\(path)/tokens.json" }
    /// The secret that the local probes and the printed `curl` command use.
    var tokenFile: String { "\(path)/token" }
    /// How to open the database, its password included: a connection service file of libpq.
    package var serviceFile: String { "\(path)/pg_service.conf" }
    /// The service's name in it.
    package static let serviceName = "local"

    private var lockFile: String { "\(path)/lock" }

    func log(of program: String) -> String { "\(path)/\(program).log" }
    func pidFile(of program: String) -> String { "\(path)/\(program).pid" }
    func portFile(of program: String) -> String { "\(path)/\(program).ports" }
    func state(of program: String) -> String { "\(path)/\(program)" }

    /// Makes the folder and takes its lock.
    ///
    /// - Returns: The lock, which ends with its last reference, or with the process.
    /// - Throws: ``LocalStackError`` when another stack has it, or it cannot be made.
    func claim() throws(LocalStackError) -> FolderLock {
        var parent = ""
        for component in path.split(separator: "/") {
            parent += "/\(component)"
            if mkdir(parent, 0o755) != 0, errno != EEXIST {
                throw LocalStackError(
                    "cannot make \(parent): \(systemMessage()); name another folder with --data-dir"
                )
            }
        }
        let lock = open(lockFile, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard lock >= 0 else {
            throw LocalStackError(
                "cannot write to \(path): \(systemMessage()); name another folder with --data-dir")
        }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            close(lock)
            throw LocalStackError(
                "another local stack is running on \(path): stop it with Ctrl-C where it runs, or "
                    + "name another folder with --data-dir")
        }
        return FolderLock(descriptor: lock)
    }

    /// Whether a stack has the folder now; also when that cannot be told.
    var isClaimed: Bool {
        let lock = open(lockFile, O_RDONLY | O_CLOEXEC)
        guard lock >= 0 else { return true }
        defer { close(lock) }
        return flock(lock, LOCK_SH | LOCK_NB) != 0
    }

    /// Writes a file that only its owner may read.
    func writeSecret(_ text: String, to file: String) throws(LocalStackError) {
        unlink(file)
        let descriptor = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw LocalStackError("cannot write \(file): \(systemMessage())")
        }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        guard write(descriptor, bytes, bytes.count) == bytes.count else {
            throw LocalStackError("cannot write \(file): \(systemMessage())")
        }
    }

    /// A file's text without the line ends at its end, or nil if there is none.
    static func contents(of file: String) -> String? {
        guard let stream = fopen(file, "r") else { return nil }
        defer { fclose(stream) }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = fread(&buffer, 1, buffer.count, stream)
        var text = Substring(decoding: buffer.prefix(count), as: UTF8.self)
        while text.last?.isNewline == true { text.removeLast() }
        return String(text)
    }
}

/// The right to use a ``StackFolder`` (`flock(2)`).
final class FolderLock {
    private let descriptor: Int32

    fileprivate init(descriptor: Int32) {
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
    }
}

/// What the system says about the last failure.
func systemMessage() -> String { String(cString: strerror(errno)) }

/// Why a local stack cannot start or go on, and what to do about it.
package struct LocalStackError: Error, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

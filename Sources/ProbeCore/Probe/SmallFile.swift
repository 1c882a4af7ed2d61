internal import Glibc
internal import Transport

/// Small text files: read whole, or replaced whole.
enum SmallFile {
    /// The text of a file.
    ///
    /// - Throws: ``FileProblem`` when it cannot be read, is larger than `bytesMax` or is not UTF-8.
    static func read(_ path: String, bytesMax: Int) throws(FileProblem) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileProblem(path, "cannot be opened", errno) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        // One more than allowed, to see that there is more.
        var piece = [UInt8](repeating: 0, count: bytesMax + 1)
        while bytes.count <= bytesMax {
            let count = Glibc.read(descriptor, &piece, piece.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw FileProblem(path, "cannot be read", errno) }
            if count == 0 { break }
            bytes += piece.prefix(count)
        }
        guard bytes.count <= bytesMax else {
            throw FileProblem(path, "is larger than \(bytesMax) bytes")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw FileProblem(path, "is not UTF-8 text")
        }
        return text
    }

    /// Writes a file so that a crash leaves the old one or the new one, and none but the owner reads it.
    static func replace(_ path: String, with text: String) throws(FileProblem) {
        let draft = path + ".new"
        let descriptor = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw FileProblem(draft, "cannot be written", errno) }
        let bytes = Array(text.utf8)
        let written = Glibc.write(descriptor, bytes, bytes.count)
        let isWhole = written == bytes.count && fsync(descriptor) == 0
        // A short write says that there is no room for the rest.
        let failure = written >= 0 && written < bytes.count ? ENOSPC : errno
        close(descriptor)
        guard isWhole else {
            unlink(draft)
            throw FileProblem(draft, "cannot be written", failure)
        }
        guard rename(draft, path) == 0 else {
            throw FileProblem(path, "cannot be replaced", errno)
        }
    }

    /// Makes a folder and those above it.
    static func makeFolder(_ path: String) throws(FileProblem) {
        var made = ""
        for part in path.split(separator: "/", omittingEmptySubsequences: false) {
            made += made.isEmpty && !path.hasPrefix("/") ? String(part) : "/\(part)"
            if part.isEmpty { continue }
            guard mkdir(made, 0o700) == 0 || errno == EEXIST else {
                throw FileProblem(made, "cannot be made a folder", errno)
            }
        }
    }

    /// Whether others than the owner and the group may read a file; false when that cannot be told.
    static func isReadableByOthers(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IROTH != 0
    }
}

/// What is wrong with a file.
package struct FileProblem: Error, Sendable, CustomStringConvertible {
    package let description: String
    /// What the system said; nil when it is the content that cannot be used.
    let errorNumber: Int32?

    init(_ path: String, _ what: String, _ errorNumber: Int32? = nil) {
        self.errorNumber = errorNumber
        let reason = errorNumber.map { ": " + TransportError.text(ofErrno: $0) } ?? ""
        description = "\(path) \(what)\(reason)"
    }
}

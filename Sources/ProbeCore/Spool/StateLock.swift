internal import Glibc
internal import Transport

/// The right to use a state folder, which one process at a time has.
///
/// A lock of the system on a file (flock(2)): it ends with the process, however that ends.
package final class StateLock: Sendable {
    private let descriptor: Int32

    /// How long a process that is just ending is waited for, as when a supervisor starts its successor.
    private static let patience = Duration.seconds(2)
    private static let pauseMicroseconds: UInt32 = 50_000

    /// - Throws: ``FileProblem`` when another process has it, or the file cannot be made.
    package init(folder: String) throws(FileProblem) {
        let path = "\(folder)/lock"
        var descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        if descriptor < 0 && errno == EROFS { descriptor = open(path, O_RDONLY | O_CLOEXEC) }
        guard descriptor >= 0 else { throw FileProblem(path, "cannot be opened", errno) }
        let deadline = MonotonicInstant.now().advanced(by: Self.patience)
        var isLocked = false
        var failure: Int32 = 0
        repeat {
            isLocked = flock(descriptor, LOCK_EX | LOCK_NB) == 0
            failure = errno
            if isLocked || failure != EWOULDBLOCK { break }
            usleep(Self.pauseMicroseconds)
        } while MonotonicInstant.now() < deadline
        guard isLocked else {
            close(descriptor)
            guard failure == EWOULDBLOCK else {
                throw FileProblem(path, "cannot be locked", failure)
            }
            let holder = (try? SmallFile.read(path, bytesMax: 64))?
                .split(whereSeparator: \.isWhitespace).first
            throw FileProblem(
                folder,
                "is in use by another probe" + (holder.map { " (process \($0))" } ?? "")
                    + "; end that one, or give this one a folder of its own")
        }
        // For whoever finds it locked; the lock does not depend on it.
        let text = Array("\(getpid())\n".utf8)
        if ftruncate(descriptor, 0) == 0 { _ = pwrite(descriptor, text, text.count, 0) }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }
}

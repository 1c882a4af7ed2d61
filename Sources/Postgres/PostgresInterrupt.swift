#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// Ends the waits of the connections it was given to, from any thread.
///
/// A program makes one, hands it to its connections and triggers it when it must stop now: every
/// wait under way, and every later one, throws ``PostgresError/Code/interrupted``. It cannot be
/// reset. Costs two file descriptors.
package final class PostgresInterrupt: Sendable {
    /// Becomes readable when triggered and stays so.
    let readDescriptor: Int32
    private let writeDescriptor: Int32

    /// Makes an interrupt that is not triggered.
    ///
    /// - Throws: ``PostgresError`` when the process is out of file descriptors.
    package init() throws(PostgresError) {
        var descriptors: [Int32] = [-1, -1]
        guard unsafe pipe(&descriptors) == 0 else {
            throw PostgresError(.connectFailed, "cannot open a pipe: errno \(errno)")
        }
        for descriptor in descriptors {
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        }
        readDescriptor = descriptors[0]
        writeDescriptor = descriptors[1]
    }

    deinit {
        close(readDescriptor)
        close(writeDescriptor)
    }

    /// Ends all waits, present and future. Safe to call more than once.
    package func trigger() {
        var byte: UInt8 = 1
        // A full pipe is readable already, so a failed write changes nothing.
        _ = unsafe write(writeDescriptor, &byte, 1)
    }
}

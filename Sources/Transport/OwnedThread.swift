internal import Glibc

/// A named thread that its owner joins.
///
/// Blocking calls run on these, never on Swift's cooperative pool. Signals that ask a process to do
/// something go to other threads; those that report a crash stay unblocked, so it is reported.
package final class OwnedThread {
    private let thread: pthread_t
    private var isOver = false

    /// The kernel's limit for a thread's name, without the closing zero.
    private static let nameBytesMax = 15

    /// Starts `body` on a new thread.
    ///
    /// - Throws: ``TransportError`` with ``TransportError/Code/system`` when the system has no room for
    ///   another thread.
    package init(
        named name: String, _ body: sending @escaping () -> Void
    ) throws(TransportError) {
        let start = unsafe Unmanaged.passRetained(Start(name: name, body: body))
        var thread = pthread_t()
        let result = unsafe pthread_create(
            &thread, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                OwnedThread.blockSignals()
                OwnedThread.nameThisThread(start.name)
                start.body()
                return nil
            },
            start.toOpaque())
        guard result == 0 else {
            unsafe start.release()
            throw TransportError(errno: result, "starting the thread \(name)")
        }
        self.thread = thread
    }

    deinit {
        precondition(isOver, "a thread was neither joined nor abandoned")
    }

    /// Waits for the thread's end.
    package func join() {
        precondition(!isOver, "a thread is joined once")
        isOver = true
        let result = pthread_join(thread, nil)
        precondition(result == 0, "joining an own thread cannot fail")
    }

    /// Gives up the right to join; for threads that hang in a call that nothing can end.
    package func abandon() {
        precondition(!isOver, "a thread is abandoned once")
        isOver = true
        pthread_detach(thread)
    }

    private final class Start {
        let name: String
        let body: () -> Void

        init(name: String, body: sending @escaping () -> Void) {
            self.name = name
            self.body = body
        }
    }

    private static func nameThisThread(_ name: String) {
        // glibc hides pthread_setname_np from plain C; the kernel's own file does the same (proc(5)).
        let file = unsafe open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        defer { close(file) }
        let bytes = Array(name.utf8.prefix(nameBytesMax))
        _ = unsafe bytes.withUnsafeBytes { unsafe write(file, $0.baseAddress, $0.count) }
    }

    private static func blockSignals() {
        var signals = sigset_t()
        unsafe sigfillset(&signals)
        for crash in [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT] {
            unsafe sigdelset(&signals, crash)
        }
        unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
    }
}

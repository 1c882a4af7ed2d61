internal import Glibc
internal import Synchronization

/// A thread with a name and an owner that joins it.
///
/// Blocking C calls and hot loops run here, never on Swift's cooperative pool, where they would
/// stall unrelated tasks. The owner tells `body` to end by its own means and calls ``join()``;
/// dropping an unjoined thread is a bug and traps.
package final class OwnedThread: Sendable {
    /// The name as shown by `ps -L` and debuggers; Linux keeps its first 15 bytes.
    package let name: String
    private let handle: pthread_t
    private let isJoined = Mutex(false)

    /// Starts a thread that runs `body` once.
    ///
    /// Traps when the system refuses a thread: nothing useful is left to do then. It is for the few threads
    /// that a program starts at its own start; see ``init(ifPossible:_:)``.
    package init(name: String, _ body: @escaping @Sendable () -> Void) {
        self.name = name
        guard let handle = Self.start(Start(name: name, body: body)) else {
            preconditionFailure("cannot start thread \(name)")
        }
        self.handle = handle
    }

    /// Starts a thread that runs `body` once; nil when the system refuses one, as it does where the number of
    /// threads is limited (`pids.max` of cgroups, `ulimit -u`).
    package init?(ifPossible name: String, _ body: @escaping @Sendable () -> Void) {
        guard let handle = Self.start(Start(name: name, body: body)) else { return nil }
        self.name = name
        self.handle = handle
    }

    private static func start(_ start: Start) -> pthread_t? {
        let retained = unsafe Unmanaged.passRetained(start)
        var handle = pthread_t()
        let status = unsafe pthread_create(
            &handle, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                nameCallingThread(start.name)
                start.body()
                return nil
            }, unsafe retained.toOpaque())
        if status != 0 { unsafe retained.release() }
        return status == 0 ? handle : nil
    }

    /// Waits until the body has returned. Later calls return at once.
    package func join() {
        isJoined.withLock { isJoined in
            guard !isJoined else { return }
            precondition(pthread_equal(pthread_self(), handle) == 0, "\(name) joins itself")
            _ = pthread_join(handle, nil)
            isJoined = true
        }
    }

    deinit {
        precondition(isJoined.withLock { $0 }, "thread \(name) was never joined")
    }

    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
}

/// Names the calling thread by `proc(5)`; glibc's own calls for it are not visible to Swift.
private func nameCallingThread(_ name: String) {
    guard let file = unsafe fopen("/proc/thread-self/comm", "w") else { return }
    unsafe fputs(name, file)
    unsafe fclose(file)
}

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
    /// Traps when the system refuses a thread: nothing useful is left to do then, and every
    /// program of ours starts its few threads at its own start.
    package init(name: String, _ body: @escaping @Sendable () -> Void) {
        self.name = name
        let start = unsafe Unmanaged.passRetained(Start(name: name, body: body)).toOpaque()
        var handle = pthread_t()
        let status = unsafe pthread_create(
            &handle, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                nameCallingThread(start.name)
                start.body()
                return nil
            }, start)
        precondition(status == 0, "cannot start thread \(name): error \(status)")
        self.handle = handle
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

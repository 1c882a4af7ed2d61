internal import Glibc
internal import Synchronization
internal import SystemPackage

/// A named thread that somebody owns and joins.
///
/// For blocking C calls and hot loops, which must not run on Swift's cooperative threads. Telling
/// the body to end is the owner's affair; a thread that is dropped without a join traps, because
/// its body may then use what its owner has freed.
package final class OwnedThread: Sendable {
    /// Passed to the thread, and released by it.
    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    package let name: String
    /// Nil once joined.
    private let thread: Mutex<pthread_t?>
    private let finished: FinishSignal

    /// Starts a thread.
    ///
    /// - Parameters:
    ///   - name: Linux shows its first 15 bytes, for example in `top -H`.
    ///   - body: Must return once its owner asks it to, in whatever way they agree on.
    package init(name: String, body: @escaping @Sendable () -> Void) {
        self.name = name
        // The body must not keep this object alive, or the check in deinit could never fail.
        let finish = FinishSignal()
        finished = finish
        let start = Start(name: name) {
            body()
            finish.finish()
        }
        var thread = pthread_t()
        let box = Unmanaged.passRetained(start)
        let status = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                OwnedThread.nameCurrentThread(start.name)
                start.body()
                return nil
            }, box.toOpaque())
        // EAGAIN, the only possible status here, means that the process may have no more threads;
        // a program that cannot start its fixed set of threads cannot do its work.
        precondition(
            status == 0, "cannot start thread '\(name)': \(String(cString: strerror(status)))")
        self.thread = Mutex(thread)
    }

    deinit {
        let isJoined = thread.withLock { $0 == nil }
        precondition(isJoined, "thread '\(name)' was dropped without a join")
    }

    /// Waits until the body has returned. A second call returns at once.
    ///
    /// Blocks the calling thread: from a task, use ``joinAsync()``.
    package func join() {
        guard let thread = thread.withLock({ $0.take() }) else { return }
        let status = pthread_join(thread, nil)
        precondition(
            status == 0, "cannot join thread '\(name)': \(String(cString: strerror(status)))")
    }

    /// Waits until the body has returned, without blocking a cooperative thread, then joins.
    ///
    /// Cancelling the task does not shorten the wait, since the thread still runs.
    package func joinAsync() async {
        await finished.wait()
        // What is left of the thread is its own return.
        join()
    }
}

extension OwnedThread {
    /// Names the calling thread; a name is a help only, so a failure is not one of the thread.
    fileprivate static func nameCurrentThread(_ name: String) {
        // prctl(2) is variadic, which Swift cannot call; proc(5) offers the same as a file, which
        // cuts what is longer than 15 bytes.
        guard
            let file = try? FileDescriptor.open("/proc/thread-self/comm", .writeOnly)
        else { return }
        _ = try? file.closeAfter { try file.writeAll(name.utf8) }
    }
}

/// Tells tasks that something has finished, once.
private final class FinishSignal: Sendable {
    private struct State {
        var isFinished = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    func finish() {
        let waiters = state.withLock { state in
            state.isFinished = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let isFinished = state.withLock { state in
                if !state.isFinished { state.waiters.append(continuation) }
                return state.isFinished
            }
            if isFinished { continuation.resume() }
        }
    }
}

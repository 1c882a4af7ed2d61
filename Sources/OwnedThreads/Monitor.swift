internal import Glibc

/// A value behind a lock, with waiting for the value to change.
///
/// `Synchronization.Mutex` has no condition variable, and the threads that talk to blocking C
/// libraries must sleep until there is work. Waiting blocks the calling thread: never call
/// ``wait(until:_:)`` on Swift's cooperative pool or on an event loop. ``withLock(_:)`` and
/// ``update(_:)`` hold the lock only as long as the closure runs and may be called from anywhere.
///
/// Safe to share: `state` is reached only with `mutex` held, and both C objects live at stable
/// addresses until `deinit`, when nobody can hold a reference any more.
@safe package final class Monitor<State>: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let changed: UnsafeMutablePointer<pthread_cond_t>
    private var state: State

    package init(_ state: sending State) {
        self.state = state
        unsafe mutex = .allocate(capacity: 1)
        unsafe changed = .allocate(capacity: 1)
        unsafe mutex.initialize(to: pthread_mutex_t())
        unsafe changed.initialize(to: pthread_cond_t())
        var attributes = pthread_condattr_t()
        unsafe check(pthread_mutex_init(mutex, nil))
        unsafe check(pthread_condattr_init(&attributes))
        // A deadline must not move when somebody sets the machine's clock.
        unsafe check(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC))
        unsafe check(pthread_cond_init(changed, &attributes))
        unsafe check(pthread_condattr_destroy(&attributes))
    }

    deinit {
        unsafe check(pthread_cond_destroy(changed))
        unsafe check(pthread_mutex_destroy(mutex))
        unsafe changed.deallocate()
        unsafe mutex.deallocate()
    }

    /// Runs `body` with the lock held; waiting threads are not woken.
    package func withLock<Result, Failure: Error>(
        _ body: (inout State) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        unsafe check(pthread_mutex_lock(mutex))
        defer { unsafe check(pthread_mutex_unlock(mutex)) }
        return try body(&state)
    }

    /// Runs `body` with the lock held, then wakes every waiting thread.
    package func update<Result, Failure: Error>(
        _ body: (inout State) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        unsafe check(pthread_mutex_lock(mutex))
        defer {
            unsafe check(pthread_cond_broadcast(changed))
            unsafe check(pthread_mutex_unlock(mutex))
        }
        return try body(&state)
    }

    /// Blocks the calling thread until `body` returns a value or `deadline` has passed.
    ///
    /// `body` runs with the lock held: at once, after every ``update(_:)``, and a last time when
    /// the deadline has passed. `nil` as a deadline waits without end.
    ///
    /// - Returns: What `body` returned, or `nil` when the deadline passed first.
    package func wait<Result>(
        until deadline: ContinuousClock.Instant?, _ body: (inout State) -> Result?
    ) -> Result? {
        unsafe check(pthread_mutex_lock(mutex))
        defer { unsafe check(pthread_mutex_unlock(mutex)) }
        while true {
            if let result = body(&state) {
                return result
            }
            guard let deadline else {
                unsafe check(pthread_cond_wait(changed, mutex))
                continue
            }
            let remaining = ContinuousClock.now.duration(to: deadline)
            guard remaining > .zero else { return nil }
            var moment = monotonicMoment(after: remaining)
            let status = unsafe pthread_cond_timedwait(changed, mutex, &moment)
            if status != ETIMEDOUT {
                check(status)
            }
        }
    }
}

/// Longest single wait, so that adding it to the clock cannot overflow; longer waits loop.
private let longestWaitSeconds: Int64 = 3600

private func monotonicMoment(after duration: Duration) -> timespec {
    var moment = timespec()
    unsafe check(clock_gettime(CLOCK_MONOTONIC, &moment))
    let limited = min(duration, .seconds(longestWaitSeconds))
    let nanosecondsPerSecond = 1_000_000_000
    moment.tv_sec += Int(limited.components.seconds)
    moment.tv_nsec += Int(limited.components.attoseconds / 1_000_000_000)
    if moment.tv_nsec >= nanosecondsPerSecond {
        moment.tv_sec += 1
        moment.tv_nsec -= nanosecondsPerSecond
    }
    return moment
}

/// These calls fail only on misuse (POSIX.1-2017, `pthread_mutex_lock` and siblings).
private func check(_ status: CInt) {
    precondition(status == 0, "a POSIX lock call failed with error \(status)")
}

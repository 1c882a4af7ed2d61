internal import Glibc

/// State shared by threads, with a lock and a way to wait for a change of it.
///
/// Waiting ends by the monotonic clock, so a jump of the wall clock neither hurries nor holds anyone.
@safe package final class Monitor<State>: @unchecked Sendable {
    // Unchecked: `state` is only touched with `mutex` held, and never leaves except by the
    // caller's closure, which is `Sendable`-checked by its own captures.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let changed: UnsafeMutablePointer<pthread_cond_t>
    private var state: State

    package init(_ state: sending State) {
        self.state = state
        unsafe mutex = .allocate(capacity: 1)
        unsafe changed = .allocate(capacity: 1)
        unsafe precondition(pthread_mutex_init(mutex, nil) == 0, "a default mutex needs nothing")
        var attributes = pthread_condattr_t()
        unsafe pthread_condattr_init(&attributes)
        unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        unsafe precondition(
            pthread_cond_init(changed, &attributes) == 0, "a condition needs nothing")
        unsafe pthread_condattr_destroy(&attributes)
    }

    deinit {
        unsafe pthread_cond_destroy(changed)
        unsafe pthread_mutex_destroy(mutex)
        unsafe changed.deallocate()
        unsafe mutex.deallocate()
    }

    /// Calls `body` with the state and wakes all who wait for a change.
    package func change<Result, Failure: Error>(
        _ body: (inout State) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        unsafe pthread_mutex_lock(mutex)
        defer {
            unsafe pthread_cond_broadcast(changed)
            unsafe pthread_mutex_unlock(mutex)
        }
        return try body(&state)
    }

    /// Calls `body` with the state; wakes nobody.
    package func read<Result>(_ body: (State) -> Result) -> Result {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        return body(state)
    }

    /// Calls `attempt` now and after each change until it gives a value; nil once `deadline` passed.
    ///
    /// Without a deadline it waits as long as it takes.
    package func wait<Result>(
        until deadline: MonotonicInstant?, for attempt: (inout State) -> Result?
    ) -> Result? {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while true {
            if let result = attempt(&state) {
                // What was taken may be what another waiter looks at.
                unsafe pthread_cond_broadcast(changed)
                return result
            }
            guard let deadline else {
                unsafe pthread_cond_wait(changed, mutex)
                continue
            }
            if deadline <= .now() { return nil }
            var end = timespec(
                tv_sec: Int(clamping: deadline.nanoseconds / 1_000_000_000),
                tv_nsec: Int(deadline.nanoseconds % 1_000_000_000))
            unsafe pthread_cond_timedwait(changed, mutex, &end)
        }
    }
}

internal import Glibc
internal import Synchronization

/// How long a blocking call may take, and what may cut it short.
package struct Patience: Sendable {
    /// When the call gives up with ``TransportError/Code/timedOut``.
    package let deadline: MonotonicInstant
    /// Ends the call early with ``TransportError/Code/interrupted`` once triggered.
    package let interrupt: Interrupt?

    package init(until deadline: MonotonicInstant, interrupt: Interrupt? = nil) {
        self.deadline = deadline
        self.interrupt = interrupt
    }

    /// Patience for `timeout` from now.
    package init(for timeout: Duration, interrupt: Interrupt? = nil) {
        self.init(until: .now().advanced(by: timeout), interrupt: interrupt)
    }

    /// The same patience with an earlier end; a later `other` changes nothing.
    package func ending(by other: MonotonicInstant) -> Patience {
        Patience(until: min(deadline, other), interrupt: interrupt)
    }

    /// Throws when the time is up or the owner asked to stop.
    ///
    /// A stream that always has something to read never waits, and would never end without this.
    package func check(during call: @autoclosure () -> String) throws(TransportError) {
        if interrupt?.isTriggered == true {
            throw TransportError(.interrupted, "\(call()): stopped")
        }
        if remaining == .zero { throw TransportError(.timedOut, "\(call()): deadline passed") }
    }

    /// What is left, zero when the deadline has passed.
    package var remaining: Duration { deadline.since(.now()) }
}

/// A switch that ends every blocking call that waits with it; it is triggered once and stays so.
///
/// Its readable descriptor is polled beside the socket's, so a waiting thread wakes at once.
package final class Interrupt: Sendable {
    private let readEnd: Int32
    private let writeEnd: Mutex<Int32?>

    /// - Throws: ``TransportError`` when the system has no descriptors left.
    package init() throws(TransportError) {
        var ends: [Int32] = [-1, -1]
        guard unsafe pipe(&ends) == 0 else { throw TransportError(errno: errno, "pipe") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        readEnd = ends[0]
        writeEnd = Mutex(ends[1])
    }

    deinit {
        trigger()
        close(readEnd)
    }

    /// Ends the calls that wait, and all later ones.
    package func trigger() {
        // A closed write end makes the read end ready for every poller and for ever.
        let end = writeEnd.withLock { end in
            let taken = end
            end = nil
            return taken
        }
        if let end { close(end) }
    }

    /// Blocks for `duration`, or until triggered.
    package func sleep(for duration: Duration) {
        // Nothing ever arrives: the wait ends by the deadline or by the interrupt.
        try? waitUntilReady(
            readEnd, for: POLLIN, Patience(for: duration, interrupt: self), during: "sleeping")
    }

    /// Whether ``trigger()`` was called.
    package var isTriggered: Bool { writeEnd.withLock { $0 == nil } }

    /// Readable or hung up once triggered.
    var descriptor: Int32 { readEnd }
}

/// Waits until `descriptor` is ready for `events` (`POLLIN`, `POLLOUT`) or has failed.
func waitUntilReady(
    _ descriptor: Int32, for events: Int32, _ patience: Patience,
    during call: @autoclosure () -> String
) throws(TransportError) {
    while true {
        try patience.check(during: call())
        // Rounded up, as poll would otherwise spin through the last millisecond.
        let left = patience.remaining.wholeNanoseconds
        let milliseconds = Int32(clamping: (left &+ 999_999) / 1_000_000)
        var polled = [
            pollfd(fd: descriptor, events: Int16(truncatingIfNeeded: events), revents: 0),
            // A negative descriptor is skipped by poll.
            pollfd(
                fd: patience.interrupt?.descriptor ?? -1, events: Int16(POLLIN), revents: 0),
        ]
        let ready = unsafe poll(&polled, nfds_t(polled.count), milliseconds)
        if ready < 0 {
            if errno == EINTR { continue }
            throw TransportError(errno: errno, "poll")
        }
        if polled[0].revents != 0 { return }
    }
}

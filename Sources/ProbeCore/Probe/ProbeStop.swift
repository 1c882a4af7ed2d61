internal import OwnedThreads
package import Transport

/// Tells the threads of a probe that it ends; they sleep on it, so they notice at once.
package final class ProbeStop: Sendable {
    private let isStopping = Monitor(false)
    /// Ends network calls.
    package let interrupt: Interrupt

    /// - Throws: ``Transport/TransportError`` when the system has no descriptors left.
    package init() throws(TransportError) {
        interrupt = try Interrupt()
    }

    /// Ends all sleeps; network calls under way go on.
    package func announce() {
        isStopping.update { $0 = true }
    }

    /// Ends all sleeps and interrupts all network calls, now and later.
    package func trigger() {
        announce()
        interrupt.trigger()
    }

    /// Whether the probe ends.
    package var isTriggered: Bool { isStopping.withLock { $0 } }

    /// Blocks until `moment`; true when the probe ends before.
    package func sleep(until moment: MonotonicInstant) -> Bool {
        let pause = moment.since(.now())
        return isStopping.wait(until: .now + pause) { $0 ? true : nil } ?? false
    }
}

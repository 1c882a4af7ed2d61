internal import OwnedThreads
package import Postgres

/// A wish to end, such as Ctrl-C, that work under way looks at.
package final class StopRequest: Sendable {
    private let state = Monitor(false)
    /// Ends waits for PostgreSQL as well.
    package let interrupt: PostgresInterrupt

    package init() throws(PostgresError) {
        interrupt = try PostgresInterrupt()
    }

    package var wasGiven: Bool { state.withLock { $0 } }

    package func give() {
        state.update { $0 = true }
        interrupt.trigger()
    }
}

/// Thrown where work ends because of a ``StopRequest``.
package struct Stopped: Error, Equatable, Sendable {
    package init() {}
}

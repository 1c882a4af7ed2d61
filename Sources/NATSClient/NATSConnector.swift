internal import OwnedThreads
internal import Synchronization

/// Keeps one connection to a NATS system, from before the first connect until ``stop()``.
///
/// A connection reconnects by itself, but it needs somebody to make it, and it ends for ever when
/// the server refuses the credentials twice. The connector tries without end, so that a service
/// can start before its NATS does, outlive any outage, and pick up repaired credentials.
package final class NATSConnector: Sendable {
    /// How long to wait after a failed attempt: doubles up to the second value.
    private static let firstPause = Duration.milliseconds(100)
    private static let longestPause = Duration.seconds(5)

    private let shared: Shared
    private let thread: OwnedThread

    /// Starts connecting; returns at once.
    ///
    /// - Parameter onEvent: Called with every event, in order but for `connected`, which may come
    ///   beside others; it must not block.
    package init(
        _ options: NATSOptions,
        onEvent: @escaping @Sendable (NATSConnectionEvent) -> Void = { _ in }
    ) {
        let shared = Shared()
        shared.observe(onEvent)
        self.shared = shared
        thread = OwnedThread(name: "nats connect") {
            Self.run(options, shared)
        }
    }

    deinit {
        stop()
    }

    /// The present connection, connected or reconnecting; `nil` when there is none.
    package var connection: NATSConnection? {
        shared.state.withLock { $0.connection }
    }

    /// Whether messages can be sent now, as of the last event. Never blocks.
    ///
    /// A peer that hangs is noticed only after its pings are due.
    package var isConnected: Bool {
        shared.isConnected.load(ordering: .acquiring)
    }

    /// Why the last attempt to connect failed; `nil` while there is a connection.
    package var lastError: NATSError? {
        shared.state.withLock { $0.lastError }
    }

    /// Waits for a connection. Blocks.
    ///
    /// - Throws: What the last attempt failed with, when `limit` has passed.
    package func waitUntilConnected(within limit: Duration) throws(NATSError) -> NATSConnection {
        let connected = shared.state.wait(until: .now + limit) { state in
            state.isUp ? state.connection : nil
        }
        if let connected {
            return connected
        }
        throw lastError
            ?? NATSError(
                code: .timeout, call: "connect", text: "no NATS connection within \(limit)")
    }

    /// Adds a call for every event; see ``init(_:onEvent:)``. Observers stay for good.
    package func observe(_ onEvent: @escaping @Sendable (NATSConnectionEvent) -> Void) {
        shared.observe(onEvent)
    }

    /// Closes the connection and ends. Blocks until the connecting thread is gone.
    package func stop() {
        shared.state.update { $0.isStopped = true }
        thread.join()
    }

    private static func run(_ options: NATSOptions, _ shared: Shared) {
        var pause = firstPause
        while true {
            let attempt = shared.beginAttempt()
            do throws(NATSError) {
                let connection = try NATSConnection(options) { event in
                    shared.handle(event, of: attempt)
                }
                shared.install(connection)
                pause = firstPause
                shared.waitUntilClosedOrStopped()
                let isStopped = shared.uninstall()
                connection.close()
                guard !isStopped else { break }
            } catch {
                shared.attemptFailed(error)
            }
            if shared.isStopped(after: pause) {
                break
            }
            pause = min(pause * 2, longestPause)
        }
        NATSConnection.releaseThreadMemory()
    }
}

extension NATSConnector {
    /// What the connecting thread, libnats's event thread and the callers share.
    private final class Shared: Sendable {
        struct State {
            var connection: NATSConnection?
            /// Number of the present attempt; what libnats still says of earlier ones is old.
            var attempt = 0
            /// Cleared by events alone, so an event that comes before the connection is
            /// installed is not lost.
            var isUp = false
            var isClosed = false
            var isStopped = false
            var lastError: NATSError?
        }

        let state = Monitor(State())
        let isConnected = Atomic(false)
        private let observers = Mutex<[@Sendable (NATSConnectionEvent) -> Void]>([])

        func observe(_ observer: @escaping @Sendable (NATSConnectionEvent) -> Void) {
            observers.withLock { $0.append(observer) }
        }

        func beginAttempt() -> Int {
            state.withLock { state in
                state.attempt += 1
                state.isUp = true
                state.isClosed = false
                return state.attempt
            }
        }

        func install(_ connection: NATSConnection) {
            change { state in
                state.connection = connection
                state.lastError = nil
            }
            tell(.connected)
        }

        func attemptFailed(_ error: NATSError) {
            change { state in
                state.isUp = false
                state.lastError = error
            }
            tell(.connectFailed(error))
        }

        /// - Returns: Whether the connector is stopped, and not only this connection closed.
        func uninstall() -> Bool {
            change { state in
                state.connection = nil
                state.isUp = false
            }
            return state.withLock { $0.isStopped }
        }

        func handle(_ event: NATSConnectionEvent, of attempt: Int) {
            change { state in
                guard attempt == state.attempt else { return }
                switch event {
                case .disconnected: state.isUp = false
                case .reconnected: state.isUp = true
                case .closed: state.isClosed = true
                case .error(let error): state.lastError = error
                case .connected, .connectFailed: break
                }
            }
            tell(event)
        }

        func waitUntilClosedOrStopped() {
            _ = state.wait(until: nil) { $0.isClosed || $0.isStopped ? true : nil }
        }

        func isStopped(after pause: Duration) -> Bool {
            state.wait(until: .now + pause) { $0.isStopped ? true : nil } ?? false
        }

        private func change(_ body: (inout State) -> Void) {
            state.update { state in
                body(&state)
                isConnected.store(
                    state.isUp && !state.isClosed && state.connection != nil,
                    ordering: .releasing)
            }
        }

        private func tell(_ event: NATSConnectionEvent) {
            for observer in observers.withLock({ $0 }) {
                observer(event)
            }
        }
    }
}

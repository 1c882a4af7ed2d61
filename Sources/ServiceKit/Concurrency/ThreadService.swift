internal import OwnedThreads
internal import ServiceLifecycle

/// A service whose work blocks, and therefore runs on threads of its own.
///
/// Each body runs until its ``StopSignal`` is given. The first error stops all bodies and is thrown
/// once they have returned; the service is also done once all bodies have returned by themselves.
package struct ThreadService: Service {
    package typealias Body = @Sendable (StopSignal) throws -> Void

    private let bodies: [(name: String, body: Body)]
    private let onStop: @Sendable () -> Void

    /// - Parameters:
    ///   - bodies: One thread each, with its name.
    ///   - onStop: Called once when a shutdown begins, to end waits that the signal does not.
    package init(
        _ bodies: [(name: String, body: Body)], onStop: @escaping @Sendable () -> Void = {}
    ) {
        self.bodies = bodies
        self.onStop = onStop
    }

    package func run() async throws {
        let stop = StopSignal()
        try await withTaskCancellationOrGracefulShutdownHandler {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (name, body) in bodies {
                    group.addTask { try await Self.runThread(name) { try body(stop) } }
                }
                do {
                    // Not waitForAll(), which throws an error only after all others have ended.
                    while try await group.next() != nil {}
                } catch {
                    // The others must end too, or waiting for them would not.
                    stop.give()
                    onStop()
                    throw error
                }
            }
        } onCancelOrGracefulShutdown: {
            stop.give()
            onStop()
        }
    }

    /// Runs `body` on a thread and waits for it without blocking a cooperative one.
    private static func runThread(
        _ name: String, _ body: @escaping @Sendable () throws -> Void
    ) async throws {
        var thread: OwnedThread?
        let outcome = await withCheckedContinuation { continuation in
            thread = OwnedThread(name: name) {
                continuation.resume(returning: Result { try body() })
            }
        }
        // What is left of the thread is its own return.
        thread?.join()
        try outcome.get()
    }
}

/// Tells threads that they are to end.
package final class StopSignal: Sendable {
    private let isGiven = Monitor(false)

    package init() {}

    /// Asks for the end; can be called from anywhere and more than once.
    package func give() {
        isGiven.update { $0 = true }
    }

    /// Whether the end was asked for.
    package var wasGiven: Bool { isGiven.withLock { $0 } }

    /// Blocks until the end is asked for or `duration` has passed.
    ///
    /// - Returns: Whether the end was asked for.
    @discardableResult
    package func wait(for duration: Duration) -> Bool {
        isGiven.wait(until: .now + duration) { $0 ? true : nil } ?? false
    }
}

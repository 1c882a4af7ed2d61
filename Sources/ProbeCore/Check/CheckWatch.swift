internal import OwnedThreads
internal import Transport

/// Ends what takes longer than it may, for calls that know no deadline but can be interrupted.
final class CheckWatch: Sendable {
    private struct State {
        var watched: [UInt64: (deadline: MonotonicInstant, interrupt: Interrupt)] = [:]
        var nextKey: UInt64 = 0
        var isStopped = false
        /// Whether the deadlines have changed since they were looked at.
        var isChanged = false
    }

    private let state = Monitor(State())
    private let thread: OwnedThread

    init() {
        let state = state
        thread = OwnedThread(name: "check-watch") { Self.watch(state) }
    }

    /// Runs `body` with patience that ends at the deadline, for every kind of wait.
    ///
    /// - Throws: ``TransportError`` when the system has no descriptors left.
    func run<Result>(
        within timeout: Duration, _ body: (Patience) -> Result
    ) throws(TransportError) -> Result {
        let interrupt = try Interrupt()
        let patience = Patience(for: timeout, interrupt: interrupt)
        let key = state.update { state in
            state.nextKey += 1
            state.watched[state.nextKey] = (patience.deadline, interrupt)
            state.isChanged = true
            return state.nextKey
        }
        defer { state.update { _ = $0.watched.removeValue(forKey: key) } }
        return body(patience)
    }

    /// Ends the watching; call it once, when nothing runs.
    func stop() {
        state.update { $0.isStopped = true }
        thread.join()
    }

    private static func watch(_ state: Monitor<State>) {
        while true {
            let next = state.withLock { $0.watched.values.map(\.deadline).min() }
            let isStopped: Bool? = state.wait(
                until: next.map { .now + $0.since(.now()) }
            ) { state in
                if state.isStopped { return true }
                guard state.isChanged else { return nil }
                state.isChanged = false
                return false
            }
            if isStopped == true { return }
            let now = MonotonicInstant.now()
            state.update { state in
                for (key, entry) in state.watched where entry.deadline <= now {
                    entry.interrupt.trigger()
                    state.watched[key] = nil
                }
            }
        }
    }
}

internal import OwnedThreads
internal import Synchronization

/// Whether the fleet has been told to measure nothing (the suppression of RFC 7594, section 5.2.2).
///
/// Every answer of `ingest` to this probe says so or does not, and the last one counts.
package final class Suppression: Sendable {
    private struct State {
        var isActive = false
        var observer: (@Sendable (Bool) -> Void)?
    }

    private let state = Mutex(State())

    package init() {}

    package var isActive: Bool { state.withLock { $0.isActive } }

    /// Calls `observer` at each change, on the thread that noticed it.
    func onChange(_ observer: @escaping @Sendable (Bool) -> Void) {
        state.withLock { $0.observer = observer }
    }

    /// Takes what an answer's head says: the field orders the stop, a good answer without it ends the stop, and
    /// any other may come from something in between that knows of no orders.
    func take(_ head: HTTPResponseReader.Head) {
        if head.value(of: "qoe-suppress") != nil {
            set(true)
        } else if (200...299).contains(head.status) {
            set(false)
        }
    }

    /// Takes what an answer said; true when that is a change.
    @discardableResult
    package func set(_ isActive: Bool) -> Bool {
        let observer = state.withLock { state -> (@Sendable (Bool) -> Void)?? in
            guard state.isActive != isActive else { return nil }
            state.isActive = isActive
            return .some(state.observer)
        }
        guard case .some(let observer) = observer else { return false }
        observer?(isActive)
        return true
    }
}

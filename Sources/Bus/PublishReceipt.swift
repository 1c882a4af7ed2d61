internal import Failpoints
internal import Synchronization

/// Follows what one request published until all of it is durable.
///
/// The request appends under its receipt, then commits the receipt exactly once, whether or not
/// appends were refused. The outcome comes once: success when JetStream has acknowledged every
/// block that holds something of the request, failure as soon as one of them failed or an append
/// was refused.
package final class PublishReceipt: Sendable {
    package typealias Outcome = Result<Void, PublishError>

    private struct State {
        /// Blocks and messages that hold something of this request and have no answer yet.
        var pendingCount = 0
        var isCommitted = false
        var error: PublishError?
        var lanes: [Int] = []
        var onComplete: (@Sendable (Outcome) -> Void)?

        /// The handler and the outcome to call it with, once.
        mutating func takeCompletion() -> (@Sendable (Outcome) -> Void, Outcome)? {
            guard isCommitted, pendingCount == 0 || error != nil, let handler = onComplete else {
                return nil
            }
            onComplete = nil
            return (handler, error.map { .failure($0) } ?? .success(()))
        }
    }

    private let state: Mutex<State>

    /// - Parameter onComplete: Called once after the commit, on the publisher's thread or inside
    ///   ``BlockPublisher/commit(_:)``; it must not block.
    package init(onComplete: @escaping @Sendable (Outcome) -> Void) {
        state = Mutex(State(onComplete: onComplete))
    }

    /// One more block or message of the lane must be acknowledged.
    func expect(lane: Int) {
        state.withLock { state in
            state.pendingCount += 1
            if !state.lanes.contains(lane) {
                state.lanes.append(lane)
            }
        }
    }

    /// One of the expected answers has come.
    func finished(_ error: PublishError?) {
        change { state in
            state.pendingCount -= 1
            state.error = state.error ?? error
            if state.error == nil && state.isCommitted && state.pendingCount > 0 {
                failpoint(.ingestPartlyAcknowledged)
            }
        }
    }

    /// Something of the request was not even taken.
    func refused(_ error: PublishError) {
        change { $0.error = $0.error ?? error }
    }

    /// - Returns: The lanes that hold something of the request.
    func commit() -> [Int] {
        let lanes = state.withLock { $0.lanes }
        change { state in
            precondition(!state.isCommitted, "a receipt is committed once")
            state.isCommitted = true
        }
        return lanes
    }

    private func change(_ body: (inout State) -> Void) {
        let completion = state.withLock { state in
            body(&state)
            return state.takeCompletion()
        }
        if let (handler, outcome) = completion {
            handler(outcome)
        }
    }
}

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

    /// A handler and what it is to be called with.
    struct Completion {
        let handler: @Sendable (Outcome) -> Void
        let outcome: Outcome
    }

    private struct State {
        /// Blocks and messages that hold something of this request and have no answer yet.
        var pendingCount = 0
        var isCommitted = false
        var error: PublishError?
        var lanes: [Int] = []
        var onComplete: (@Sendable (Outcome) -> Void)?

        /// The handler and the outcome to call it with, once.
        mutating func takeCompletion() -> Completion? {
            guard isCommitted, pendingCount == 0 || error != nil, let handler = onComplete else {
                return nil
            }
            onComplete = nil
            return Completion(
                handler: handler, outcome: error.map { .failure($0) } ?? .success(()))
        }
    }

    private let state: Mutex<State>
    private let queue: CompletionQueue?

    /// - Parameters:
    ///   - queue: Where the call is made, in ``CompletionQueue/run()``; nil makes it on the publisher's
    ///     thread or inside ``BlockPublisher/commit(_:wakes:)``.
    ///   - onComplete: Called once after the commit; it must not block.
    package init(
        on queue: CompletionQueue? = nil, onComplete: @escaping @Sendable (Outcome) -> Void
    ) {
        self.queue = queue
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
    ///
    /// - Returns: The queue whose loop must be woken for it.
    func finished(_ error: PublishError?) -> CompletionQueue? {
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
        change { $0.error = $0.error ?? error }?.wakeLoop()
    }

    /// - Returns: The lanes that hold something of the request.
    func commit() -> [Int] {
        let lanes = state.withLock { $0.lanes }
        change { state in
            precondition(!state.isCommitted, "a receipt is committed once")
            state.isCommitted = true
        }?.wakeLoop()
        return lanes
    }

    private func change(_ body: (inout State) -> Void) -> CompletionQueue? {
        let completion = state.withLock { state in
            body(&state)
            return state.takeCompletion()
        }
        guard let completion else { return nil }
        guard let queue else {
            completion.handler(completion.outcome)
            return nil
        }
        return queue.add(completion) ? queue : nil
    }
}

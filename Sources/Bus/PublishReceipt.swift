internal import Failpoints
internal import Synchronization

/// Follows what one request published until all of it is durable.
///
/// The request appends under its receipt, then commits the receipt exactly once, whether or not
/// appends were refused. The outcome comes once: success when JetStream has acknowledged every
/// block that holds something of the request, failure as soon as one of them failed or an append
/// was refused. One atomic word decides when that is, without a lock.
package final class PublishReceipt: Sendable {
    package typealias Outcome = Result<Void, PublishError>

    /// A receipt that has its outcome, and where it is to be told.
    struct Completion {
        let receipt: PublishReceipt
        let outcome: Outcome

        var queue: CompletionQueue? { receipt.queue }

        func tell() {
            receipt.onComplete(outcome)
        }
    }

    private final class Refusal: Sendable {
        let error: PublishError

        init(_ error: PublishError) { self.error = error }
    }

    /// The blocks and messages that hold something of this request and have no answer yet, and these flags above.
    private let state = Atomic<UInt64>(0)
    private static let isCommitted: UInt64 = 1 << 63
    private static let hasFailed: UInt64 = 1 << 62
    private static let isComplete: UInt64 = 1 << 61
    private static let countMask: UInt64 = isComplete - 1

    /// The first error.
    private let refusal = AtomicLazyReference<Refusal>()
    private let queue: CompletionQueue?
    private let onComplete: @Sendable (Outcome) -> Void

    /// - Parameters:
    ///   - queue: Where the call is made, in ``CompletionQueue/run()``; nil makes it on the publisher's
    ///     thread or inside ``BlockPublisher/commit(_:wakes:)``.
    ///   - onComplete: Called once after the commit; it must not block.
    package init(
        on queue: CompletionQueue? = nil, onComplete: @escaping @Sendable (Outcome) -> Void
    ) {
        self.queue = queue
        self.onComplete = onComplete
    }

    /// One more block or message must be acknowledged.
    func expect() {
        state.add(1, ordering: .relaxed)
    }

    /// One of the expected answers has come.
    ///
    /// - Returns: The outcome, when this decides it.
    func finished(_ error: PublishError?) -> Completion? {
        if let error { note(error) }
        return change(answers: 1, setting: error == nil ? 0 : Self.hasFailed)
    }

    /// Something of the request was not even taken, before its commit.
    func refused(_ error: PublishError) {
        note(error)
        _ = change(answers: 0, setting: Self.hasFailed)
    }

    /// Nothing more comes.
    ///
    /// - Returns: The outcome, when it is known already.
    func commit() -> Completion? {
        change(answers: 0, setting: Self.isCommitted)
    }

    private func note(_ error: PublishError) {
        _ = refusal.storeIfNil(Refusal(error))
    }

    private func change(answers: UInt64, setting flags: UInt64) -> Completion? {
        var old = state.load(ordering: .relaxed)
        while true {
            precondition(
                old & Self.countMask >= answers, "an answer that nobody expects")
            precondition(old & flags & Self.isCommitted == 0, "a receipt is committed once")
            var new = (old - answers) | flags
            let isDecided =
                new & Self.isCommitted != 0
                && (new & Self.countMask == 0 || new & Self.hasFailed != 0)
            let completes = isDecided && old & Self.isComplete == 0
            if completes { new |= Self.isComplete }
            let (isExchanged, present) = state.weakCompareExchange(
                expected: old, desired: new, ordering: .acquiringAndReleasing)
            guard isExchanged else {
                old = present
                continue
            }
            if answers > 0, !isDecided, new & Self.isCommitted != 0 {
                failpoint(.ingestPartlyAcknowledged)
            }
            guard completes else { return nil }
            return Completion(
                receipt: self, outcome: refusal.load().map { .failure($0.error) } ?? .success(()))
        }
    }
}

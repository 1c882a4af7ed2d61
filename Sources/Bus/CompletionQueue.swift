internal import OwnedThreads

/// Outcomes of receipts on their way to one event loop, which is woken once for many of them.
///
/// It holds at most the requests that wait for the publisher, which bounds them by their bytes.
package final class CompletionQueue: Sendable {
    private let waiting = Monitor<[PublishReceipt.Completion]>([])
    private let wake: @Sendable (CompletionQueue) -> Void

    /// - Parameter wake: Called on any thread when the queue is no longer empty, and not again before
    ///   ``run()`` has emptied it; makes the loop call ``run()`` and must not block.
    package init(wake: @escaping @Sendable (CompletionQueue) -> Void) {
        self.wake = wake
    }

    /// Calls the handlers of all receipts that have their outcome, in their order. On the event loop.
    package func run() {
        let completions = waiting.withLock { waiting in
            let taken = waiting
            waiting = []
            return taken
        }
        for completion in completions {
            completion.handler(completion.outcome)
        }
    }

    /// Adds an outcome.
    ///
    /// - Returns: Whether somebody must call ``wakeLoop()``.
    func add(_ completion: PublishReceipt.Completion) -> Bool {
        waiting.withLock { waiting in
            waiting.append(completion)
            return waiting.count == 1
        }
    }

    func wakeLoop() {
        wake(self)
    }
}

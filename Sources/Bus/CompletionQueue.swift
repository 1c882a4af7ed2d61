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
        for completion in completions { completion.tell() }
    }

    /// Adds outcomes, and has the loop woken if it is not awake for others.
    func add(_ completions: [PublishReceipt.Completion]) {
        let wasEmpty = waiting.withLock { waiting in
            let wasEmpty = waiting.isEmpty
            waiting += completions
            return wasEmpty
        }
        if wasEmpty { wake(self) }
    }
}

/// The outcomes of one turn of a thread, for each queue together, so that a queue is locked and its loop woken once.
struct CompletionBatches {
    private var batches: [(queue: CompletionQueue, completions: [PublishReceipt.Completion])] = []

    /// Keeps an outcome, or tells it now when it is for no queue.
    mutating func add(_ completion: PublishReceipt.Completion) {
        guard let queue = completion.queue else {
            completion.tell()
            return
        }
        // One per event loop: few.
        if let index = batches.firstIndex(where: { $0.queue === queue }) {
            batches[index].completions.append(completion)
        } else {
            batches.append((queue, [completion]))
        }
    }

    /// Hands all of it over.
    mutating func deliver() {
        for batch in batches { batch.queue.add(batch.completions) }
        batches.removeAll(keepingCapacity: true)
    }
}

internal import Bus
internal import NIOCore
internal import Synchronization

/// Brings the outcomes of receipts from the publisher's thread to an event loop: one hop for all that came meanwhile.
final class SettledReceipts: Sendable {
    struct Settled: Sendable {
        let exchange: NIOLoopBound<Exchange>
        let outcome: PublishReceipt.Outcome
    }

    private let eventLoop: any EventLoop
    /// Nil when the loop has ended and nobody is left to answer.
    private let settled = Mutex<[Settled]?>([])
    /// Takes them on the loop.
    private let receiver: NIOLoopBound<ConnectionLoop>

    init(_ eventLoop: any EventLoop, receiver: NIOLoopBound<ConnectionLoop>) {
        self.eventLoop = eventLoop
        self.receiver = receiver
    }

    /// From any thread.
    func add(_ one: Settled) {
        let isFirst = settled.withLock { settled in
            settled?.append(one)
            return settled?.count == 1
        }
        guard isFirst else { return }
        eventLoop.execute { [self] in
            let all = settled.withLock { settled -> [Settled] in
                guard let all = settled else { return [] }
                settled?.removeAll()
                settled?.reserveCapacity(all.count)
                return all
            }
            receiver.value.settle(all)
        }
    }

    /// Drops what is still to come; on the loop, before it ends.
    func stop() {
        settled.withLock { $0 = nil }
    }
}

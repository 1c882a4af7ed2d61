import Blocks
import Bus
import OwnedThreads
import Testing

struct CompletionQueueTests {
    private struct Loop {
        var wakeCount = 0
        var outcomes: [Int] = []
    }

    @Test func `outcomes wait in their queue until the loop asks, and wake it once`() throws {
        try BusFixture.run { bus in
            try bus.withPublisher { publisher in
                let loop = Monitor(Loop())
                let queue = CompletionQueue { _ in loop.update { $0.wakeCount += 1 } }
                let count = 20
                // One block: all of it is appended before the first commit.
                let receipts = (0..<count).map { number in
                    PublishReceipt(on: queue) { _ in loop.update { $0.outcomes.append(number) } }
                }
                for (number, receipt) in receipts.enumerated() {
                    try publisher.append(partition: 0, to: receipt) { builder in
                        builder.append(event(UInt64(number)), receivedAtMilliseconds: 1)
                    }
                }
                for receipt in receipts { publisher.commit(receipt, wakes: false) }
                publisher.wake()
                #expect(
                    loop.wait(until: .now + .seconds(20)) { $0.wakeCount > 0 ? true : nil } == true)
                #expect(loop.withLock { $0.outcomes.isEmpty })
                queue.run()
                #expect(loop.withLock { $0.outcomes } == Array(0..<count))
                #expect(loop.withLock { $0.wakeCount } == 1)
            }
        }
    }

    @Test func `an append that is refused has its outcome in the queue too`() throws {
        try BusFixture.run { bus in
            try bus.withPublisher { publisher in
                publisher.stop(within: .seconds(1))
                let loop = Monitor(Loop())
                let queue = CompletionQueue { _ in loop.update { $0.wakeCount += 1 } }
                let receipt = PublishReceipt(on: queue) { outcome in
                    if case .failure = outcome { loop.update { $0.outcomes.append(1) } }
                }
                #expect(throws: PublishError.self) {
                    try publisher.append(partition: 0, to: receipt) { _ in true }
                }
                publisher.commit(receipt)
                #expect(loop.withLock { $0.wakeCount } == 1)
                queue.run()
                #expect(loop.withLock { $0.outcomes } == [1])
            }
        }
    }
}

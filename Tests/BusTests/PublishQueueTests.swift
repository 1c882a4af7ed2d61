import TestKit
import Testing

@testable import Bus

struct PublishQueueTests {
    private typealias Queue = PublishQueue<String>
    private typealias InFlight = BlocksInFlight<String>
    private let start = ContinuousClock.now

    @Test func `blocks keep their order and a bounded number is in flight`() {
        var queue = Queue()
        for waiter in ["a", "b", "c", "d"] {
            enqueue(&queue, waiter)
        }
        var inFlight = InFlight(countMax: 2)
        #expect(send(&queue, &inFlight)?.waiters == ["a"])
        #expect(inFlight.hasRoom)
        #expect(send(&queue, &inFlight)?.waiters == ["b"])
        #expect(!inFlight.hasRoom)
        #expect(inFlight.answered(2)?.waiters == ["b"])
        #expect(send(&queue, &inFlight)?.waiters == ["c"])
        #expect(inFlight.answered(2) == nil)
    }

    @Test func `only blocks past their deadline are given up`() {
        var queue = Queue()
        var inFlight = InFlight(countMax: 3)
        for (waiter, seconds) in [("a", 1), ("b", 3), ("c", 2)] {
            enqueue(&queue, waiter)
            _ = send(&queue, &inFlight, deadline: start + .seconds(seconds))
        }
        #expect(inFlight.expire(now: start).isEmpty)
        let late = inFlight.expire(now: start + .seconds(2)).flatMap(\.waiters)
        #expect(late.sorted() == ["a", "c"])
        #expect(inFlight.count == 1)
    }

    @Test func `a number is never given twice, whatever happens to its block`() {
        let seed = UInt64.random(in: .min ... .max)
        var generator = SeededGenerator(seed: seed)
        var queue = Queue()
        var inFlight = InFlight(countMax: 2)
        var sent: [UInt64] = []
        var waitingCount = 0
        for step in 0..<2_000 {
            switch Int.random(in: 0..<10, using: &generator) {
            case 0..<4:
                enqueue(&queue, "\(step)")
                waitingCount += 1
            case 4..<7:
                let deadline = start + .milliseconds(step)
                if inFlight.hasRoom, let block = send(&queue, &inFlight, deadline: deadline) {
                    sent.append(block.number)
                    waitingCount -= 1
                }
            case 7..<9:
                if let number = sent.randomElement(using: &generator) {
                    _ = inFlight.answered(number)
                }
            default:
                if Bool.random(using: &generator) {
                    _ = inFlight.expire(now: start + .milliseconds(step))
                } else {
                    #expect(queue.takeAll().count == waitingCount, "seed \(seed)")
                    waitingCount = 0
                    _ = inFlight.removeAll()
                    #expect(inFlight.count == 0, "seed \(seed)")
                }
            }
            #expect(queue.byteCount == waitingCount * 10, "seed \(seed)")
            #expect(inFlight.count <= 2, "seed \(seed)")
        }
        #expect(sent == sent.sorted(), "seed \(seed)")
        #expect(Set(sent).count == sent.count, "seed \(seed)")
    }

    private func enqueue(_ queue: inout Queue, _ waiter: String) {
        let number = queue.takeNumber()
        queue.enqueue(
            Queue.Block(
                number: number, payload: Array(repeating: 0, count: 10), eventCount: 1,
                waiters: [waiter]))
    }

    private func send(
        _ queue: inout Queue, _ inFlight: inout InFlight,
        deadline: ContinuousClock.Instant? = nil
    ) -> Queue.Block? {
        let block = queue.takeFirst()
        if let block { inFlight.add(block, deadline: deadline ?? start) }
        return block
    }
}

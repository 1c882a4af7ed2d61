import TestKit
import Testing

@testable import Bus

struct PublishQueueTests {
    private typealias Queue = PublishQueue<String>
    private let start = ContinuousClock.now

    @Test func `a lone block leaves at once`() {
        var queue = Queue(inFlightMax: 2)
        #expect(queue.wantsBlock)
        enqueue(&queue, "a")
        #expect(queue.nextToSend(deadline: start)?.number == 1)
        #expect(queue.nextToSend(deadline: start) == nil)
    }

    @Test func `further blocks wait for an answer and keep their order`() {
        var queue = Queue(inFlightMax: 2)
        for waiter in ["a", "b", "c", "d"] {
            enqueue(&queue, waiter)
        }
        #expect(queue.nextToSend(deadline: start)?.waiters == ["a"])
        #expect(queue.nextToSend(deadline: start)?.waiters == ["b"])
        #expect(queue.nextToSend(deadline: start) == nil)
        #expect(!queue.wantsBlock)
        #expect(queue.answered(2)?.waiters == ["b"])
        #expect(queue.nextToSend(deadline: start)?.waiters == ["c"])
        #expect(queue.answered(2) == nil)
    }

    @Test func `only blocks past their deadline are given up`() {
        var queue = Queue(inFlightMax: 3)
        for (waiter, seconds) in [("a", 1), ("b", 3), ("c", 2)] {
            enqueue(&queue, waiter)
            _ = queue.nextToSend(deadline: start + .seconds(seconds))
        }
        #expect(queue.expire(now: start).isEmpty)
        let late = queue.expire(now: start + .seconds(2)).flatMap(\.waiters)
        #expect(late.sorted() == ["a", "c"])
        #expect(queue.inFlightCount == 1)
    }

    @Test func `a number is never given twice, whatever happens to its block`() {
        let seed = UInt64.random(in: .min ... .max)
        var generator = SeededGenerator(seed: seed)
        var queue = Queue(inFlightMax: 2)
        var sent: [UInt64] = []
        var bytes = 0
        for step in 0..<2_000 {
            switch Int.random(in: 0..<10, using: &generator) {
            case 0..<4:
                enqueue(&queue, "\(step)")
                bytes += 10
            case 4..<7:
                if let block = queue.nextToSend(deadline: start + .milliseconds(step)) {
                    sent.append(block.number)
                }
            case 7..<9:
                if let number = sent.randomElement(using: &generator),
                    let block = queue.answered(number)
                {
                    bytes -= block.byteCount
                }
            default:
                if Bool.random(using: &generator) {
                    bytes -= queue.expire(now: start + .milliseconds(step)).count * 10
                } else {
                    bytes -= queue.removeAll().count * 10
                }
            }
            #expect(queue.byteCount == bytes, "seed \(seed)")
            #expect(queue.inFlightCount <= 2, "seed \(seed)")
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
}

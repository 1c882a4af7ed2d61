import OwnedThreads
import Testing

struct MonitorTests {
    @Test func `a waiting thread sees the update that it waited for`() {
        let box = Monitor<[Int]>([])
        let seen = Monitor<[Int]>([])
        let thread = OwnedThread(name: "waiter") {
            for _ in 0..<1_000 {
                if let value = box.wait(until: nil, { $0.isEmpty ? nil : $0.removeFirst() }) {
                    seen.update { $0.append(value) }
                }
            }
        }
        for value in 0..<1_000 {
            box.update { $0.append(value) }
        }
        thread.join()
        #expect(seen.withLock { $0 } == Array(0..<1_000))
    }

    @Test func `a wait without an update ends at its deadline`() {
        let box = Monitor(0)
        let result: Int? = box.wait(until: .now + .milliseconds(20)) { _ in nil }
        #expect(result == nil)
    }

    @Test func `a condition that already holds needs no waiting`() {
        let box = Monitor(7)
        #expect(box.wait(until: .now) { $0 } == 7)
    }
}

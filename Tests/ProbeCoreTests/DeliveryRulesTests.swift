import ProbeCore
import TestKit
import Testing
import Transport

@testable import ProbeCore

@Suite struct EndpointRotationTests {
    private let start = MonotonicInstant(nanoseconds: 1_000_000_000)

    @Test func `the first server is used until it fails, then the next one stays`() {
        var random = SeededGenerator(seed: 1)
        var rotation = EndpointRotation(count: 3)
        #expect(rotation.next(at: start) == .use(0))
        rotation.failed(0, at: start, waitAtLeast: .seconds(5), using: &random)
        #expect(rotation.next(at: start) == .use(1))
        rotation.succeeded(1)
        #expect(rotation.next(at: start.advanced(by: .seconds(100))) == .use(1))
    }

    @Test func `with all servers resting it waits for the first to return`() {
        var random = SeededGenerator(seed: 2)
        var rotation = EndpointRotation(count: 2)
        rotation.failed(0, at: start, waitAtLeast: .seconds(90), using: &random)
        rotation.failed(1, at: start, waitAtLeast: .seconds(80), using: &random)
        #expect(rotation.next(at: start) == .wait(until: start.advanced(by: .seconds(80))))
        #expect(rotation.next(at: start.advanced(by: .seconds(80))) == .use(1))
    }

    @Test func `a throttling server silences all`() {
        var random = SeededGenerator(seed: 3)
        var rotation = EndpointRotation(count: 3)
        rotation.throttled(by: 1, at: start, waitAtLeast: .seconds(70), using: &random)
        #expect(rotation.next(at: start) == .wait(until: start.advanced(by: .seconds(70))))
    }

    @Test func `waits grow to a minute at most`() {
        var random = SeededGenerator(seed: 4)
        var rotation = EndpointRotation(count: 1)
        var longest = Duration.zero
        for _ in 0..<200 {
            rotation.failed(0, at: start, waitAtLeast: nil, using: &random)
            guard case .wait(let until) = rotation.next(at: start) else { continue }
            longest = max(longest, until.since(start))
        }
        #expect(longest <= .seconds(60))
        #expect(longest > .seconds(30))
    }
}

@Suite struct RetryAfterTests {
    @Test(arguments: [
        ("0", 0), ("120", 120), ("999999999999", 3600),
        // 784111777 is the RFC's own example, 10 s after the clock given below.
        ("Sun, 06 Nov 1994 08:49:37 GMT", 10), ("Sun, 06 Nov 1994 08:49:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
    ])
    func `seconds and moments are understood`(text: String, seconds: Int) {
        let wait = RetryAfter.duration(text, nowMilliseconds: 784_111_767_000)
        #expect(wait == .seconds(seconds))
    }

    @Test(arguments: [
        "", "-1", "soon", "1.5", "Sun, 06 Nov 1994", "Sun, 99 Nov 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:00:00 GMT",
        "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
    ])
    func `anything else is no wait`(text: String) {
        #expect(RetryAfter.duration(text, nowMilliseconds: 0) == nil)
    }

    @Test(arguments: [
        ("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_800), ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Sat, 01 Mar 2025 12:30:15 GMT", 1_740_832_215),
    ])
    func `calendar days are counted right`(text: String, unixSeconds: Int64) {
        let now = (unixSeconds - 60) * 1000
        #expect(RetryAfter.duration(text, nowMilliseconds: now) == .seconds(60))
    }
}

@Suite struct MemorySpoolTests {
    private func event(_ number: UInt64) -> SpooledEvent {
        SpooledEvent(number: number, measuredAtMilliseconds: Int64(number), json: Array("{}".utf8))
    }

    @Test func `a full spool drops its oldest, counts them and names them`() {
        let spool = MemorySpool(countMax: 3)
        for number in 1...5 as ClosedRange<UInt64> { spool.append(event(number)) }
        #expect(spool.status.depth == 3)
        #expect(spool.status.dropped == 2)
        #expect(spool.status.oldestMeasuredAtMilliseconds == 3)
        #expect(spool.takeDroppedNumbers() == 1...2)
        #expect(spool.takeDroppedNumbers() == nil)
    }

    @Test func `a batch holds at least one event, and else what fits`() {
        let spool = MemorySpool(countMax: 10)
        for number in 1...5 as ClosedRange<UInt64> { spool.append(event(number)) }
        #expect(spool.oldest(countMax: 10, bytesMax: 1).events.map(\.number) == [1])
        #expect(spool.oldest(countMax: 10, bytesMax: 9).events.map(\.number) == [1, 2, 3])
        #expect(spool.oldest(countMax: 2, bytesMax: 99).events.map(\.number) == [1, 2])
    }

    @Test(arguments: 0..<50 as Range<UInt64>)
    func `every event is delivered once, dropped or still there`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let spool = MemorySpool(countMax: 20)
        var next: UInt64 = 1
        var delivered: [UInt64] = []
        for _ in 0..<300 {
            if random.chance(70) {
                spool.append(event(next))
                next += 1
            } else {
                let batch = spool.oldest(
                    countMax: Int.random(in: 1...30, using: &random), bytesMax: 1 << 20)
                // Events may be added, and dropped, while a batch is under way.
                if random.chance(50) {
                    spool.append(event(next))
                    next += 1
                }
                spool.remove(batch)
                delivered += batch.events.map(\.number)
            }
        }
        let left = spool.oldest(countMax: 100, bytesMax: 1 << 20).events.map(\.number)
        #expect(delivered == Array(Set(delivered)).sorted(), "seed \(seed)")
        #expect(left.count == spool.status.depth)
        #expect(left == left.sorted())
        #expect(Set(left).isDisjoint(with: delivered), "seed \(seed)")
        // A batch under way may hold one event that was dropped meanwhile: it is in both counts.
        let accounted = UInt64(delivered.count + left.count) + spool.status.dropped
        #expect(accounted >= next - 1, "seed \(seed)")
        #expect(spool.status.bytes == left.count * 2)
    }
}

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
        guard case .wait(let until) = rotation.next(at: start) else {
            Issue.record("a server is used that rests")
            return
        }
        // The backoff's chance comes on top of what was asked for.
        #expect((.seconds(80)...(.seconds(81))).contains(until.since(start)))
        #expect(rotation.next(at: until) == .use(1))
    }

    @Test func `a preferred server is tried again after a while, and takes over when it works`() {
        var random = SeededGenerator(seed: 5)
        var rotation = EndpointRotation(count: 2)
        rotation.failed(0, at: start, waitAtLeast: nil, using: &random)
        #expect(rotation.next(at: start) == .use(1))
        rotation.succeeded(1)
        let later = start.advanced(by: EndpointRotation.returnAfter)
        #expect(rotation.next(at: later) == .use(0))
        rotation.failed(0, at: later, waitAtLeast: nil, using: &random)
        #expect(rotation.next(at: later) == .use(1))
        let muchLater = later.advanced(by: EndpointRotation.returnAfter)
        #expect(rotation.next(at: muchLater) == .use(0))
        rotation.succeeded(0)
        #expect(rotation.next(at: muchLater) == .use(0))
    }

    @Test func `a throttling server silences all`() {
        var random = SeededGenerator(seed: 3)
        var rotation = EndpointRotation(count: 3)
        rotation.throttled(by: 1, at: start, waitAtLeast: .seconds(70), using: &random)
        guard case .wait(let until) = rotation.next(at: start) else {
            Issue.record("a server is used although one asked for fewer posts")
            return
        }
        #expect((.seconds(70)...(.seconds(71))).contains(until.since(start)))
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
        ("Sun Nov  6 08:49:37 1994", 10), ("Sun Nov 16 08:49:37 1994", 3600),
        ("Friday, 31-Dec-99 23:59:59 GMT", 3600),
    ])
    func `seconds and moments are understood`(text: String, seconds: Int) {
        let wait = RetryAfter.duration(text, nowMilliseconds: 784_111_767_000)
        #expect(wait == .seconds(seconds))
    }

    @Test(arguments: [
        "", "-1", "soon", "1.5", "Sun, 06 Nov 1994", "Sun, 99 Nov 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:00:00 GMT",
        "Sun, 06 Nov 99999999999999999999 08:49:37 GMT", "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 06-11-94 08:49:37 GMT", "Sun Nov 6 1994",
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

@Suite struct DrainTests {
    private let start = MonotonicInstant(nanoseconds: 1_000_000_000)

    @Test func `a backlog drains at its rate, and saves nothing up`() {
        var budget = DrainBudget(eventsPerSecond: 40, now: start)
        #expect(budget.allowance(at: start) == 40)
        budget.spend(40)
        #expect(budget.allowance(at: start) == 0)
        #expect(budget.allowance(at: start.advanced(by: .milliseconds(500))) == 20)
        #expect(budget.allowance(at: start.advanced(by: .seconds(3600))) == 40)
    }

    @Test func `events stop being fresh after their time`() {
        var boundary = FreshnessBoundary(position: 7)
        for second in 0...90 {
            boundary.note(
                UInt64(10 + second), at: start.advanced(by: .seconds(second)))
        }
        // What was added in the last minute is fresh: the mark of second 30 is the newest that is old enough.
        #expect(boundary.position == 40)
    }

    @Test func `what an earlier run left is not fresh`() {
        #expect(FreshnessBoundary(position: 7).position == 7)
    }
}

@Suite struct VerdictTests {
    @Test func `the real form of a refusal is understood`() throws {
        let body = """
            {"status":"error","error":{"code":"invalid_request","message":"no event of the body was \
            accepted; see 'rejected'"},"accepted":0,"rejected":[{"index":0,"error":"invalid_timestamp",\
            "field":"ts_ms","message":"ts_ms is too old"}]}
            """
        let answer = try #require(IngestAnswer(body: Array(body.utf8)))
        #expect(answer.error == "invalid_request")
        #expect(answer.rejected.map(\.error) == ["invalid_timestamp"])
    }

    @Test(arguments: ["", "{}", "[]", "<html>", #"{"error":"no"}"#, #"{"ok":true}"#])
    func `an answer that ingest does not give discards nothing`(body: String) {
        let answer = IngestAnswer(body: Array(body.utf8))
        guard
            case .misconfigured = DeliveryVerdict.after(
                status: 400, retryAfter: nil, answer: answer)
        else {
            Issue.record("a stranger's 400 counts")
            return
        }
    }
}

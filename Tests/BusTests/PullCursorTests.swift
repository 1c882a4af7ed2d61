import Testing

@testable import Bus

struct PullCursorTests {
    private let start = ContinuousClock.now
    private let settings: ReaderSettings = {
        var settings = ReaderSettings()
        settings.messagesPerRequest = 3
        settings.retryPause = .seconds(1)
        return settings
    }()

    @Test func `a cursor makes a consumer, then asks, then waits`() {
        var cursor = PullCursor(startSequence: 10, settings: settings)
        #expect(cursor.nextAction(now: start) == .create(startSequence: 10))
        cursor.created(consumer: "c", pendingCount: 5, now: start)
        #expect(cursor.nextAction(now: start) == .pull(consumer: "c", request: request(1)))
        #expect(cursor.nextAction(now: start) == nil)
        #expect(cursor.caughtUpAt == nil)
    }

    @Test func `a used up request is followed by another`() {
        var cursor = activeCursor()
        for number in UInt64(1)...3 {
            #expect(cursor.nextAction(now: start) == nil)
            #expect(cursor.received(message(number, number), now: start) == .deliver)
        }
        #expect(cursor.nextAction(now: start) == .pull(consumer: "c", request: request(2)))
        #expect(cursor.nextSequence == 4)
    }

    @Test func `a missing consumer sequence makes a new consumer from the first undelivered`() {
        var cursor = activeCursor()
        #expect(cursor.received(message(5, 1), now: start) == .deliver)
        #expect(cursor.received(message(7, 3), now: start) == .giveUp(.gap))
        #expect(cursor.nextAction(now: start) == .create(startSequence: 6))
    }

    @Test func `stream sequences may have holes but not go back`() {
        var cursor = activeCursor()
        #expect(cursor.received(message(5, 1), now: start) == .deliver)
        #expect(cursor.received(message(90, 2), now: start) == .deliver)
        #expect(cursor.received(message(90, 3), now: start) == .halt)
        #expect(cursor.discontinuity == .wentBack(to: 90))
        #expect(cursor.nextAction(now: start + .seconds(1_000)) == nil)
    }

    @Test func `a stream that starts below what was asked for halts the cursor`() {
        var cursor = PullCursor(startSequence: 2001, settings: settings)
        _ = cursor.nextAction(now: start)
        cursor.created(consumer: "c", pendingCount: 1, now: start)
        _ = cursor.nextAction(now: start)
        #expect(cursor.received(message(1001, 1), now: start) == .halt)
    }

    @Test func `a stream that ends before the start halts the cursor before it asks`() {
        var cursor = PullCursor(startSequence: 11, settings: settings)
        let mayGoOn = cursor.streamFound(createdNanoseconds: 7, lastSequence: 10)
        #expect(mayGoOn)
        let mayGoOnAgain = cursor.streamFound(createdNanoseconds: 7, lastSequence: 9)
        #expect(!mayGoOnAgain)
        #expect(cursor.discontinuity == .wentBack(to: 9))
        #expect(cursor.nextAction(now: start) == nil)
    }

    @Test func `a stream made at another time is another stream`() {
        var cursor = PullCursor(startSequence: 1, settings: settings)
        let mayGoOn = cursor.streamFound(createdNanoseconds: 7, lastSequence: 10)
        #expect(mayGoOn)
        let mayGoOnAgain = cursor.streamFound(createdNanoseconds: 8, lastSequence: 99)
        #expect(!mayGoOnAgain)
        #expect(cursor.discontinuity == .replaced(createdNanoseconds: 8))
    }

    @Test func `a heartbeat that counts more than came reveals a gap at the end`() {
        var cursor = activeCursor()
        #expect(cursor.received(message(1, 1), now: start) == .deliver)
        #expect(cursor.received(.idle(lastConsumerSequence: 1), request: 1, now: start) == nil)
        #expect(cursor.caughtUpAt == start)
        let trouble = cursor.received(.idle(lastConsumerSequence: 2), request: 1, now: start)
        #expect(trouble == .gap)
        #expect(cursor.caughtUpAt == nil)
        #expect(cursor.nextAction(now: start) == .create(startSequence: 2))
    }

    @Test func `caught up follows what the server says is left`() {
        var cursor = activeCursor()
        #expect(cursor.received(message(1, 1, pending: 0), now: start) == .deliver)
        #expect(cursor.caughtUpAt == start)
        #expect(cursor.received(message(2, 2, pending: 9), now: start) == .deliver)
        #expect(cursor.caughtUpAt == nil)
    }

    @Test func `silence costs a request first and the consumer then`() {
        var cursor = activeCursor()
        let first = start + settings.silenceLimit
        #expect(cursor.checkTime(now: start) == nil)
        #expect(cursor.nextCheck == first)
        #expect(cursor.checkTime(now: first) == nil)
        #expect(cursor.nextAction(now: first) == .pull(consumer: "c", request: request(2)))
        #expect(cursor.checkTime(now: first + settings.silenceLimit) == .silence)
    }

    @Test func `a sign of life between two silences keeps the consumer`() {
        var cursor = activeCursor()
        let first = start + settings.silenceLimit
        #expect(cursor.checkTime(now: first) == nil)
        _ = cursor.nextAction(now: first)
        #expect(cursor.received(.idle(lastConsumerSequence: 0), request: 2, now: first) == nil)
        let second = first + settings.silenceLimit
        #expect(cursor.checkTime(now: second) == nil)
        #expect(cursor.nextAction(now: second) == .pull(consumer: "c", request: request(3)))
    }

    @Test func `a paused cursor asks for nothing and goes on where it was`() {
        var cursor = activeCursor()
        cursor.isPaused = true
        for number in UInt64(1)...3 {
            #expect(cursor.received(message(number, number), now: start) == .deliver)
        }
        #expect(cursor.nextAction(now: start) == nil)
        #expect(cursor.nextCheck == nil)
        cursor.isPaused = false
        #expect(cursor.nextAction(now: start) == .pull(consumer: "c", request: request(2)))
    }

    @Test func `failures are retried at growing distances`() {
        var cursor = PullCursor(startSequence: 1, settings: settings)
        var now = start
        var pauses: [Duration] = []
        for _ in 0..<8 {
            #expect(cursor.nextAction(now: now) == .create(startSequence: 1))
            cursor.creationFailed(now: now)
            #expect(cursor.nextAction(now: now) == nil)
            let next = cursor.nextCheck ?? now
            pauses.append(now.duration(to: next))
            now = next
        }
        #expect(pauses == [2, 4, 8, 16, 32, 32, 32, 32].map { .seconds($0) })
    }

    @Test func `three refusals in a row give the consumer up`() {
        var cursor = activeCursor()
        var now = start
        for number in UInt64(1)...2 {
            #expect(cursor.received(.refused, request: number, now: now) == nil)
            #expect(cursor.nextAction(now: now) == nil)
            now = cursor.nextCheck ?? now
            #expect(
                cursor.nextAction(now: now) == .pull(consumer: "c", request: request(number + 1)))
        }
        #expect(cursor.received(.refused, request: 3, now: now) == .gone)
    }

    @Test func `a message larger than any request is asked for alone`() {
        var cursor = activeCursor()
        #expect(cursor.received(.outOfBytes, request: 1, now: start) == nil)
        let large = PullRequest(number: 2, isForOneLargeMessage: true)
        #expect(cursor.nextAction(now: start) == .pull(consumer: "c", request: large))
        #expect(cursor.received(message(1, 1), now: start) == .deliver)
        #expect(cursor.nextAction(now: start) == .pull(consumer: "c", request: request(3)))
    }

    @Test func `a request that ran out of bytes after messages is simply followed`() {
        var cursor = activeCursor()
        #expect(cursor.received(message(1, 1), now: start) == .deliver)
        #expect(cursor.received(.outOfBytes, request: 1, now: start) == nil)
        #expect(cursor.nextAction(now: start) == .pull(consumer: "c", request: request(2)))
    }

    @Test func `statuses of earlier requests are ignored`() {
        var cursor = activeCursor()
        #expect(cursor.received(.consumerGone, request: 9, now: start) == nil)
        #expect(cursor.received(.ended, request: 1, now: start) == nil)
        #expect(cursor.nextAction(now: start) == .pull(consumer: "c", request: request(2)))
        #expect(cursor.received(.ended, request: 1, now: start) == nil)
        #expect(cursor.nextAction(now: start) == nil)
    }

    private func activeCursor() -> PullCursor {
        var cursor = PullCursor(startSequence: 1, settings: settings)
        _ = cursor.nextAction(now: start)
        cursor.created(consumer: "c", pendingCount: 1, now: start)
        _ = cursor.nextAction(now: start)
        return cursor
    }

    private func request(_ number: UInt64) -> PullRequest {
        PullRequest(number: number, isForOneLargeMessage: false)
    }

    private func message(
        _ streamSequence: UInt64, _ consumerSequence: UInt64, pending: UInt64 = 1
    ) -> DeliveryMetadata {
        let subject = "$JS.ACK.S.c.1.\(streamSequence).\(consumerSequence).1.\(pending)"
        guard let metadata = DeliveryMetadata(replySubject: subject) else {
            preconditionFailure("a wrong subject in a test")
        }
        return metadata
    }
}

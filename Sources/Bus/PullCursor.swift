/// Where one subject of a stream is read, and what to ask the server for next.
///
/// Decisions only: the time comes as an argument, and the reader performs the actions.
///
/// - `absent`: no consumer; goes to `active` when one was created.
/// - `active`: pulls; goes back to `absent` whenever a message could have been missed, and is
///   then created anew from the first sequence that was not delivered.
/// - `halted`: the stream is not the one that was read before; only the owner can decide.
struct PullCursor {
    enum Action: Equatable {
        case create(startSequence: UInt64)
        case pull(consumer: String, request: PullRequest)
    }

    /// Why a consumer was given up.
    enum Trouble: Equatable {
        /// A consumer sequence was missing: messages were lost on the way.
        case gap
        /// The server was silent although it should send signs of life.
        case silence
        /// The consumer does not exist any more, or refuses again and again.
        case gone
    }

    enum Verdict: Equatable {
        case deliver
        case giveUp(Trouble)
        /// The stream is not the one that was read before.
        case halt
    }

    /// A consumer and the one request that it has.
    private struct Active {
        let consumer: String
        var lastConsumerSequence: UInt64 = 0
        var request: OpenRequest?
        /// Set after a refusal; no request before.
        var pullNotBefore: ContinuousClock.Instant?
        var lostRequestCount = 0
    }

    private struct OpenRequest {
        let number: UInt64
        var remainingCount: Int
        var isUntouched = true
        var lastHeard: ContinuousClock.Instant
        let expiry: ContinuousClock.Instant
    }

    private enum Phase {
        case absent(notBefore: ContinuousClock.Instant?)
        case active(Active)
        case halted(StreamDiscontinuity)
    }

    private let settings: ReaderSettings
    private var phase = Phase.absent(notBefore: nil)
    private var nextRequestNumber: UInt64 = 1
    /// Failures since the server last did what it should.
    private var failureCount = 0
    private var isNextMessageLarge = false
    /// When the stream was made that is being read; `nil` before the first look.
    private var streamCreatedNanoseconds: Int64?

    /// The first sequence that was not delivered.
    private(set) var nextSequence: UInt64
    /// When the server last said that nothing is left to deliver; `nil` while something is.
    private(set) var caughtUpAt: ContinuousClock.Instant?
    var isPaused = false
    /// Consumers made for this reading.
    private(set) var createdCount = 0

    init(startSequence: UInt64, settings: ReaderSettings) {
        nextSequence = max(startSequence, 1)
        self.settings = settings
    }

    /// The consumer in use.
    var consumer: String? {
        if case .active(let active) = phase { active.consumer } else { nil }
    }

    /// Why reading has stopped, if it has.
    var discontinuity: StreamDiscontinuity? {
        if case .halted(let discontinuity) = phase { discontinuity } else { nil }
    }

    /// What to do now; performing it is reported back by the calls below.
    mutating func nextAction(now: ContinuousClock.Instant) -> Action? {
        switch phase {
        case .halted:
            return nil
        case .absent(let notBefore):
            guard !isPaused, notBefore.map({ $0 <= now }) ?? true else { return nil }
            return .create(startSequence: nextSequence)
        case .active(var active):
            guard active.request == nil, !isPaused, active.pullNotBefore.map({ $0 <= now }) ?? true
            else { return nil }
            let request = PullRequest(
                number: nextRequestNumber, isForOneLargeMessage: isNextMessageLarge)
            nextRequestNumber &+= 1
            active.request = OpenRequest(
                number: request.number,
                remainingCount: isNextMessageLarge ? 1 : settings.messagesPerRequest,
                lastHeard: now, expiry: now + settings.requestLimit)
            phase = .active(active)
            return .pull(consumer: active.consumer, request: request)
        }
    }

    /// Notices silence and expired requests.
    ///
    /// - Returns: Why the consumer was given up, if it was.
    mutating func checkTime(now: ContinuousClock.Instant) -> Trouble? {
        guard case .active(var active) = phase, let request = active.request else { return nil }
        if now >= request.lastHeard + settings.silenceLimit {
            active.request = nil
            active.lostRequestCount += 1
            phase = .active(active)
            // The request may be lost alone; that a second one is too says more.
            if active.lostRequestCount >= lostRequestsMax {
                return giveUp(.silence, now: now)
            }
        } else if now >= request.expiry + settings.silenceLimit {
            // Servers before 2.9.16 may forget to tell that a request has expired.
            active.request = nil
            phase = .active(active)
        }
        return nil
    }

    /// When ``nextAction(now:)`` or ``checkTime(now:)`` may have something to say.
    var nextCheck: ContinuousClock.Instant? {
        switch phase {
        case .halted: nil
        case .absent(let notBefore): isPaused ? nil : notBefore
        case .active(let active):
            if let request = active.request {
                min(
                    request.lastHeard + settings.silenceLimit,
                    request.expiry + settings.silenceLimit)
            } else {
                isPaused ? nil : active.pullNotBefore
            }
        }
    }

    /// Compares the stream with what was read of it, before a consumer is made.
    ///
    /// A server takes a start behind the stream's end for granted: versions before 2.11 begin at
    /// the end instead and later ones wait for the sequence, and either skips what was stored
    /// under sequences that are used again.
    ///
    /// - Returns: Whether reading may go on.
    mutating func streamFound(createdNanoseconds: Int64, lastSequence: UInt64) -> Bool {
        if let known = streamCreatedNanoseconds, known != createdNanoseconds {
            halt(.replaced(createdNanoseconds: createdNanoseconds))
            return false
        }
        guard lastSequence >= nextSequence &- 1 else {
            halt(.wentBack(to: lastSequence))
            return false
        }
        streamCreatedNanoseconds = createdNanoseconds
        return true
    }

    private mutating func halt(_ discontinuity: StreamDiscontinuity) {
        phase = .halted(discontinuity)
        caughtUpAt = nil
    }

    mutating func created(
        consumer: String, pendingCount: UInt64, now: ContinuousClock.Instant
    ) {
        phase = .active(Active(consumer: consumer))
        createdCount += 1
        caughtUpAt = pendingCount == 0 ? now : nil
    }

    mutating func creationFailed(now: ContinuousClock.Instant) {
        failureCount += 1
        phase = .absent(notBefore: now + pause)
    }

    /// The connection is gone and with it, perhaps, messages that were on their way.
    mutating func connectionLost() {
        guard case .active = phase else { return }
        phase = .absent(notBefore: nil)
        caughtUpAt = nil
    }

    /// A message of the consumer in use has come.
    mutating func received(
        _ metadata: DeliveryMetadata, now: ContinuousClock.Instant
    ) -> Verdict {
        guard case .active(var active) = phase else { return .giveUp(.gone) }
        guard metadata.consumerSequence == active.lastConsumerSequence &+ 1 else {
            _ = giveUp(.gap, now: now)
            return .giveUp(.gap)
        }
        guard metadata.streamSequence >= nextSequence else {
            halt(.wentBack(to: metadata.streamSequence))
            return .halt
        }
        active.lastConsumerSequence = metadata.consumerSequence
        heard(&active, now: now)
        if var request = active.request {
            request.isUntouched = false
            request.remainingCount -= 1
            active.request = request.remainingCount > 0 ? request : nil
        }
        phase = .active(active)
        nextSequence = metadata.streamSequence &+ 1
        caughtUpAt = metadata.pendingCount == 0 ? now : nil
        isNextMessageLarge = false
        return .deliver
    }

    /// The server says something about the request with `number`.
    ///
    /// - Returns: Why the consumer was given up, if it was.
    mutating func received(
        _ status: PullStatus, request number: UInt64, now: ContinuousClock.Instant
    ) -> Trouble? {
        guard case .active(var active) = phase, let request = active.request,
            request.number == number
        else { return nil }
        switch status {
        case .idle(let lastConsumerSequence):
            if let lastConsumerSequence, lastConsumerSequence != active.lastConsumerSequence {
                return giveUp(.gap, now: now)
            }
            heard(&active, now: now)
            caughtUpAt = now
        case .ended:
            heard(&active, now: now)
            active.request = nil
        case .outOfBytes:
            heard(&active, now: now)
            active.request = nil
            isNextMessageLarge = request.isUntouched
        case .consumerGone:
            return giveUp(.gone, now: now)
        case .refused:
            failureCount += 1
            guard failureCount < refusalsMax else { return giveUp(.gone, now: now) }
            active.request = nil
            active.pullNotBefore = now + pause
        }
        phase = .active(active)
        return nil
    }

    private mutating func heard(_ active: inout Active, now: ContinuousClock.Instant) {
        failureCount = 0
        active.lostRequestCount = 0
        active.pullNotBefore = nil
        active.request?.lastHeard = now
    }

    /// - Returns: `trouble`.
    private mutating func giveUp(_ trouble: Trouble, now: ContinuousClock.Instant) -> Trouble {
        // The first time at once, then at growing distances.
        phase = .absent(notBefore: failureCount == 0 ? nil : now + pause)
        failureCount += 1
        caughtUpAt = nil
        return trouble
    }

    private var pause: Duration {
        let doublings = min(failureCount, settings.retryDoublingsMax)
        return settings.retryPause * Double(1 << doublings)
    }

    private var lostRequestsMax: Int { 2 }
    private var refusalsMax: Int { 3 }
}

/// One request for messages.
struct PullRequest: Equatable {
    let number: UInt64
    /// Asks for one message without a limit of bytes, after one that fits into no request.
    let isForOneLargeMessage: Bool
}

/// How a stream turns out not to be the one that was read before.
package enum StreamDiscontinuity: Sendable, Equatable {
    /// It ends at, or delivers, this sequence although a later one was read: it was restored
    /// from an older copy, or its server lost what it had acknowledged.
    case wentBack(to: UInt64)
    /// It was deleted and made anew at this time (Unix, nanoseconds).
    case replaced(createdNanoseconds: Int64)
}

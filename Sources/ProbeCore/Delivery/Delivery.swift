package import Logging
package import Transport

/// Posts the events of a spool to ingest until it is told to stop: fresh ones first, and beside them those
/// that have waited for long, at a bounded rate.
///
/// Runs on one owned thread. An event leaves the spool when a server has taken it or refused it for
/// good, and in no other way from here. A batch of which it is not known whether it was stored is posted again as
/// it was, before any other, and cannot be dropped meanwhile: so what is noted as dropped was not stored.
package final class Delivery {
    /// How events are posted.
    package struct Pace: Sendable, Equatable {
        /// The most events in one post.
        package var batchCountMax = 500
        /// The most bytes in one post before compression: half of what ingest takes by default.
        package var batchBytesMax = 512 * 1024
        /// The most events a second of those that have waited for long.
        package var drainEventsPerSecond = 50
        package var drainOrder = DrainOrder.oldestFirst

        package init() {}
    }

    private struct Pending {
        let batch: SpooledBatch
        /// Whether a server may have stored it without our knowing.
        var mayBeStored = false
        /// Whether it was posted by an earlier run alone, which may have known the time or not.
        var isOfEarlierRun = false
    }

    /// How long events may gather, so that many targets make one post.
    private static let gatherFor = Duration.seconds(1)
    /// The longest time between two looks at how far the spool has come.
    private static let lookAtLeastEvery = Duration.seconds(5)
    /// How long one post may take.
    private static let postTimeout = Duration.seconds(10)
    /// The pause when only a person can help, such as with a token that is not known.
    private static let misconfiguredPause = Duration.seconds(60)
    /// A correction by less does not make an acceptable time of one that was refused.
    private static let correctionMillisecondsMin: Int64 = 1000

    private let urls: [HTTPURL]
    private let spool: Spool
    private let token: TokenSource
    private let posters: [HTTPPoster]
    private let counters: ProbeCounters
    private let logger: Logger
    private let pace: Pace
    private let reference: ReferenceClock
    private let synchroniser: TimeSynchroniser?
    private let clock: () -> MonotonicInstant
    private var rotation: EndpointRotation
    private var budget: DrainBudget
    private var boundary: FreshnessBoundary
    /// Taken from the spool, and to be posted before any other.
    private var pending: [Pending] = []
    private var batchCount: Int
    private var mayCompress = true
    private var failuresInRow = 0
    private var generator = SystemRandomNumberGenerator()

    /// - Parameters:
    ///   - servers: The base addresses of ingest, in the order of preference, at least one.
    ///   - reference: The time of day.
    ///   - synchroniser: Asks for it before the first post to a server, and now and then; nil to leave it to others.
    ///   - clock: What pauses and rates go by; how long a post takes is the system's own.
    package init(
        servers: [HTTPURL], spool: Spool, dialer: Dialer, token: TokenSource, userAgent: String,
        pace: Pace = Pace(), reference: ReferenceClock, synchroniser: TimeSynchroniser? = nil,
        suppression: Suppression? = nil, counters: ProbeCounters, logger: Logger,
        clock: @escaping () -> MonotonicInstant = MonotonicInstant.now
    ) {
        urls = servers.map { $0.with(requestTarget: $0.path(appending: "/api/v1/events")) }
        posters = servers.map { _ in
            HTTPPoster(dialer: dialer, userAgent: userAgent, suppression: suppression)
        }
        rotation = EndpointRotation(count: servers.count)
        budget = DrainBudget(eventsPerSecond: pace.drainEventsPerSecond, now: clock())
        boundary = FreshnessBoundary(position: spool.endPosition)
        batchCount = pace.batchCountMax
        let underWay = spool.takeUnderWay()
        if !underWay.isEmpty {
            pending = [Pending(batch: underWay, mayBeStored: true, isOfEarlierRun: true)]
        }
        self.reference = reference
        self.synchroniser = synchroniser
        self.spool = spool
        self.token = token
        self.pace = pace
        self.clock = clock
        self.counters = counters
        self.logger = logger
    }

    /// Delivers until `stop` is triggered, then posts what is fresh as long as servers take it.
    ///
    /// - Parameter hardStop: Ends a post under way, and so the last ones.
    package func run(until stop: ProbeStop, hardStop: Interrupt) {
        var nextLook = MonotonicInstant.now().advanced(by: Self.gatherFor)
        while !stop.sleep(until: min(nextLook, clock().advanced(by: Self.lookAtLeastEvery))) {
            let now = clock()
            // Also while servers are left alone: what is added then must grow old.
            boundary.note(spool.endPosition, at: now)
            if now >= nextLook { nextLook = step(interrupt: hardStop) }
        }
        deliverLast(interrupt: hardStop)
    }

    /// Posts one batch if there is one and a server may be used; gives the moment to look again.
    package func step(interrupt: Interrupt?) -> MonotonicInstant {
        let now = clock()
        boundary.note(spool.endPosition, at: now)
        switch rotation.next(at: now) {
        case .wait(let moment): return moment
        case .use(let index):
            guard learnTime(from: index, at: now, interrupt) else { return now }
            guard let next = takeNext(at: now) else { return now.advanced(by: Self.gatherFor) }
            let isFull = next.batch.count >= batchCount || !pending.isEmpty
            let hasDelivered = post(next, to: index, interrupt)
            // After a failure the rotation knows who may be asked next, and when.
            return hasDelivered && !isFull ? now.advanced(by: Self.gatherFor) : now
        }
    }

    /// Asks a server for its time when that is due; false when the server did not answer and nothing should be posted
    /// before it does, as ingest refuses events that are hours off.
    private func learnTime(
        from index: Int, at now: MonotonicInstant, _ interrupt: Interrupt?
    ) -> Bool {
        guard let synchroniser, synchroniser.isDue(index) else { return true }
        let outcome = synchroniser.synchronise(
            with: index, over: posters[index], interrupt: interrupt)
        guard case .mustWait(let reason, let wait) = outcome else { return true }
        rotation.failed(index, at: now, waitAtLeast: wait, using: &generator)
        tellFailure(index, reason)
        return false
    }

    /// The batch to post again, or another; nil when there is nothing to post.
    private func takeNext(at now: MonotonicInstant) -> Pending? {
        if !pending.isEmpty {
            var next = pending.removeFirst()
            if next.isOfEarlierRun {
                next = Pending(
                    batch: next.batch.corrected(by: reference.reading()), mayBeStored: true)
            }
            return next
        }
        let request = SpoolRequest(
            countMax: batchCount, bytesMax: pace.batchBytesMax,
            backlogMax: budget.allowance(at: now), freshFrom: boundary.position,
            order: pace.drainOrder)
        let batch = spool.take(request, at: reference.reading())
        budget.spend(batch.backlogCount)
        guard !batch.isEmpty else { return nil }
        // Those of a batch that is pending are noted already: no other is taken before it has gone.
        spool.willPost(batch)
        return Pending(batch: batch)
    }

    private func deliverLast(interrupt: Interrupt?) {
        // The one that served last, even if it asked to be left alone: there is no later.
        guard learnTime(from: rotation.current, at: clock(), interrupt) else { return }
        while let next = takeNext(at: clock()), post(next, to: rotation.current, interrupt) {}
    }

    /// Posts a batch and does what the answer asks for; true when the batch has left the spool.
    private func post(_ next: Pending, to index: Int, _ interrupt: Interrupt?) -> Bool {
        let body = PostBody(next.batch.lines, mayCompress: mayCompress)
        let verdict: DeliveryVerdict
        let reason: String
        do throws(HTTPFailure) {
            let answer = try posters[index].post(
                body.bytes, fields: body.fields, to: urls[index], token: token.current,
                Patience(for: Self.postTimeout, interrupt: interrupt))
            counters.postsAnswered.add()
            counters.bytesPosted.add(body.bytes.count)
            verdict = .after(
                status: answer.status,
                retryAfter: answer.retryAfter(reference),
                answer: IngestAnswer(body: answer.body), isCompressed: body.isCompressed)
            reason = "answered \(answer.status)"
        } catch {
            verdict = .unavailable(waitAtLeast: nil)
            reason = error.message
        }
        return act(on: verdict, next, index, reason, interrupt)
    }

    private func act(
        on verdict: DeliveryVerdict, _ posted: Pending, _ index: Int, _ reason: String,
        _ interrupt: Interrupt?
    ) -> Bool {
        let now = clock()
        let batch = posted.batch
        switch verdict {
        case .delivered(let rejected):
            return finish(batch, rejected, index, interrupt)
        case .refused(let rejected, let code):
            logger.error(
                "ingest refused a whole batch for good",
                metadata: ["code": "\(code)", "events": "\(batch.count)"])
            return finishRefused(batch, rejected, code, index, interrupt)
        case .tooLarge:
            if batch.count == 1 {
                logger.error("an event alone is too large for ingest")
                return finishRefused(batch, [], "payload_too_large", index, interrupt)
            }
            let (first, rest) = batch.halves
            for half in [rest, first] {
                keep(Pending(batch: half, mayBeStored: posted.mayBeStored))
            }
            batchCount = first.count
            counters.postsFailed.add()
        case .compressionRefused:
            logger.warning(
                "gzip does not get through; events are posted as they are",
                metadata: ["server": "\(urls[index].authority)", "reason": "\(reason)"])
            mayCompress = false
            keep(posted)
            counters.postsFailed.add()
        case .unavailable(let wait):
            keep(Pending(batch: batch, mayBeStored: true))
            rotation.failed(index, at: now, waitAtLeast: wait, using: &generator)
            tellFailure(index, reason)
        case .throttled(let wait):
            keep(posted)
            rotation.throttled(by: index, at: now, waitAtLeast: wait, using: &generator)
            tellFailure(index, "wants fewer posts")
        case .forbidden(let what):
            // Others may pass where these do not, as after a change of the client's name.
            spool.putBack(batch)
            failedUntilMended(index, what, at: now)
        case .misconfigured(let what):
            keep(posted)
            failedUntilMended(index, what, at: now)
        }
        return false
    }

    /// What may be stored is posted again as it was; the rest goes back, so that what is fresh can go first.
    private func keep(_ posted: Pending) {
        if posted.mayBeStored {
            pending.insert(posted, at: 0)
        } else {
            spool.putBack(posted.batch)
        }
    }

    private func failedUntilMended(_ index: Int, _ what: String, at now: MonotonicInstant) {
        // A new token is worth a try at once.
        let pause = token.reload() ? Duration.zero : Self.misconfiguredPause
        rotation.failed(index, at: now, waitAtLeast: pause, using: &generator)
        tellFailure(index, what)
    }

    private func finishRefused(
        _ batch: SpooledBatch, _ rejected: [IngestAnswer.Reject], _ code: String, _ index: Int,
        _ interrupt: Interrupt?
    ) -> Bool {
        let named = Set(rejected.map(\.index))
        let rest = batch.items.indices.filter { !named.contains($0) }.map {
            IngestAnswer.Reject(index: $0, error: code)
        }
        return finish(batch, rejected + rest, index, interrupt)
    }

    /// Removes what was delivered or refused; false when some of it has to wait until the time is known.
    private func finish(
        _ batch: SpooledBatch, _ answered: [IngestAnswer.Reject], _ index: Int,
        _ interrupt: Interrupt?
    ) -> Bool {
        let events = batch.events
        let kept = mistimed(events, answered, index, interrupt)
        let rejected = answered.filter { !kept.contains($0.index) }
        let refused = Set(rejected.map(\.index).filter { events.indices.contains($0) })
        var toldCodes: Set<String> = []
        for reject in rejected where toldCodes.insert(reject.error).inserted {
            let isKnown = events.indices.contains(reject.index)
            // One for each code: the ledger has all their numbers.
            logger.error(
                "ingest refused events for good",
                metadata: [
                    "code": "\(reject.error)",
                    "events": "\(rejected.count { $0.error == reject.error })",
                    "first": isKnown ? "\(events[reject.index].number)" : "unknown",
                    "message": "\(reject.message ?? "")",
                ])
        }
        if let first = rejected.first {
            counters.lastError = "ingest refused \(rejected.count) events: \(first.error)"
        }
        spool.finish(batch, refused: refused, kept: kept)
        counters.eventsDelivered.add(events.count - refused.count - kept.count)
        counters.eventsRefused.add(refused.count)
        rotation.succeeded(index)
        // Grown back slowly: the server's limit may have been raised, or the events be smaller.
        batchCount = min(pace.batchCountMax, batchCount * 2)
        if failuresInRow > 0 {
            logger.info(
                "events are delivered again",
                metadata: ["server": "\(urls[index].authority)", "failures": "\(failuresInRow)"])
            failuresInRow = 0
        }
        guard !kept.isEmpty, reference.reading().estimate == nil else { return true }
        rotation.failed(
            index, at: clock(), waitAtLeast: Self.misconfiguredPause, using: &generator)
        tellFailure(index, "refuses this machine's time, and the true one is not known yet")
        return false
    }

    /// The events that were refused for a time that was the wall clock's alone, and whose true one is another or is
    /// not known yet.
    private func mistimed(
        _ events: [SpooledEvent], _ rejected: [IngestAnswer.Reject], _ index: Int,
        _ interrupt: Interrupt?
    ) -> Set<Int> {
        var reading = reference.reading()
        let candidates = rejected.filter {
            $0.error == Self.invalidTimestamp && events.indices.contains($0.index)
                && reading.isCorrectable(events[$0.index].time)
        }.map(\.index)
        guard !candidates.isEmpty else { return [] }
        if reading.estimate == nil, let synchroniser {
            _ = synchroniser.synchronise(with: index, over: posters[index], interrupt: interrupt)
            reading = reference.reading()
        }
        guard reading.estimate != nil else { return Set(candidates) }
        return Set(
            candidates.filter {
                let old = events[$0].time.milliseconds
                let new = reading.corrected(events[$0]).time.milliseconds
                let (change, overflow) = new.subtractingReportingOverflow(old)
                return overflow || change.magnitude >= Self.correctionMillisecondsMin.magnitude
            })
    }

    /// The code with which ingest refuses an event for its time.
    private static let invalidTimestamp = "invalid_timestamp"

    private func tellFailure(_ index: Int, _ reason: String) {
        counters.postsFailed.add()
        counters.lastError = "\(urls[index].authority): \(reason)"
        failuresInRow += 1
        // The 1st, 2nd, 4th, 8th… of a row: an outage of hours must not fill the log.
        guard failuresInRow & (failuresInRow - 1) == 0 else { return }
        logger.warning(
            "a server does not take events; they are kept",
            metadata: [
                "server": "\(urls[index].authority)", "reason": "\(reason)",
                "failures": "\(failuresInRow)", "waiting": "\(spool.status.depth)",
            ])
    }
}

package import Logging
internal import Telemetry
package import Transport

/// Posts the events of a spool to ingest, oldest first, until it is told to stop.
///
/// Runs on one owned thread. An event leaves the spool when a server has taken it or refused it for
/// good, and in no other way from here.
package final class Delivery {
    /// The most events in one post.
    package static let batchCountMax = 500
    /// The most bytes in one post: half of what ingest takes by default.
    package static let batchBytesMax = 512 * 1024
    /// How long events may gather, so that many targets make one post.
    private static let gatherFor = Duration.seconds(1)
    /// How long one post may take.
    private static let postTimeout = Duration.seconds(10)
    /// The pause when only a person can help, such as with a token that is not known.
    private static let misconfiguredPause = Duration.seconds(60)

    private let urls: [HTTPURL]
    private let spool: any EventSpool
    private let token: TokenSource
    private let posters: [HTTPPoster]
    private let counters: ProbeCounters
    private let logger: Logger
    private var rotation: EndpointRotation
    private var batchCount = batchCountMax
    private var failuresInRow = 0
    private var generator = SystemRandomNumberGenerator()

    /// - Parameter servers: The base addresses of ingest, in the order of preference, at least one.
    package init(
        servers: [HTTPURL], spool: any EventSpool, dialer: Dialer, token: TokenSource,
        userAgent: String, counters: ProbeCounters, logger: Logger
    ) {
        urls = servers.map { $0.with(requestTarget: $0.path(appending: "/api/v1/events")) }
        posters = servers.map { _ in HTTPPoster(dialer: dialer, userAgent: userAgent) }
        rotation = EndpointRotation(count: servers.count)
        self.spool = spool
        self.token = token
        self.counters = counters
        self.logger = logger
    }

    /// Delivers until `stop` is triggered, then posts what is left as long as servers take it.
    ///
    /// - Parameter hardStop: Ends a post under way, and so the last ones.
    package func run(until stop: ProbeStop, hardStop: Interrupt) {
        var nextLook = MonotonicInstant.now().advanced(by: Self.gatherFor)
        while !stop.sleep(until: nextLook) {
            nextLook = step(interrupt: hardStop)
            tellDrops()
        }
        deliverLast(interrupt: hardStop)
        tellDrops()
    }

    /// Posts one batch if there is one and a server may be used; gives the moment to look again.
    package func step(interrupt: Interrupt?) -> MonotonicInstant {
        let now = MonotonicInstant.now()
        let batch = nextBatch()
        guard !batch.events.isEmpty else { return now.advanced(by: Self.gatherFor) }
        switch rotation.next(at: now) {
        case .wait(let moment): return moment
        case .use(let index):
            let hasDelivered = post(batch, to: index, interrupt)
            let isMoreThanGathering = spool.status.depth >= batchCount
            // After a failure the rotation knows who may be asked next, and when.
            return hasDelivered && !isMoreThanGathering ? now.advanced(by: Self.gatherFor) : now
        }
    }

    private func nextBatch() -> SpooledBatch {
        spool.oldest(countMax: batchCount, bytesMax: Self.batchBytesMax)
    }

    private func deliverLast(interrupt: Interrupt?) {
        while true {
            let batch = nextBatch()
            // The one that served last, even if it asked to be left alone: there is no later.
            guard !batch.events.isEmpty, post(batch, to: rotation.current, interrupt) else { break }
        }
        let left = spool.status.depth
        if left > 0 {
            logger.warning("events are lost with the process", metadata: ["count": "\(left)"])
        }
    }

    /// Posts a batch and does what the answer asks for; true when the batch has left the spool.
    private func post(_ batch: SpooledBatch, to index: Int, _ interrupt: Interrupt?) -> Bool {
        let verdict: DeliveryVerdict
        let reason: String
        do throws(HTTPFailure) {
            let answer = try posters[index].post(
                batch.json, to: urls[index], token: token.current,
                Patience(for: Self.postTimeout, interrupt: interrupt))
            counters.postsAnswered.add()
            verdict = .after(
                status: answer.status,
                retryAfter: answer.head.value(of: "retry-after").flatMap {
                    RetryAfter.duration($0, nowMilliseconds: WallClock.nowMilliseconds())
                },
                answer: IngestAnswer(body: answer.body))
            reason = "answered \(answer.status)"
        } catch {
            verdict = .unavailable(waitAtLeast: nil)
            reason = error.message
        }
        return act(on: verdict, batch, index, reason)
    }

    private func act(
        on verdict: DeliveryVerdict, _ batch: SpooledBatch, _ index: Int, _ reason: String
    ) -> Bool {
        let now = MonotonicInstant.now()
        switch verdict {
        case .delivered(let rejected):
            remove(batch, delivered: max(0, batch.events.count - rejected.count), rejected, index)
            return true
        case .refused(let rejected, let code):
            logger.error(
                "ingest refused a whole batch for good",
                metadata: [
                    "code": "\(code)", "events": "\(batch.events.count)",
                    "numbers": "\(numbers(of: batch))",
                ])
            counters.lastError = "ingest refused \(batch.events.count) events: \(code)"
            remove(batch, delivered: 0, rejected, index)
            return true
        case .tooLarge:
            if batch.events.count == 1 {
                logger.error(
                    "an event alone is too large for ingest",
                    metadata: ["number": "\(numbers(of: batch))"])
                remove(batch, delivered: 0, [], index)
                return true
            }
            batchCount = batch.events.count / 2
            counters.postsFailed.add()
            return false
        case .unavailable(let wait):
            rotation.failed(index, at: now, waitAtLeast: wait, using: &generator)
            tellFailure(index, reason)
        case .throttled(let wait):
            rotation.throttled(by: index, at: now, waitAtLeast: wait, using: &generator)
            tellFailure(index, "wants fewer posts")
        case .misconfigured(let what):
            // A new token is worth a try at once.
            let pause = token.reload() ? Duration.zero : Self.misconfiguredPause
            rotation.failed(index, at: now, waitAtLeast: pause, using: &generator)
            tellFailure(index, what)
        }
        return false
    }

    private func remove(
        _ batch: SpooledBatch, delivered: Int, _ rejected: [IngestAnswer.Reject], _ index: Int
    ) {
        for reject in rejected {
            let number =
                batch.events.indices.contains(reject.index)
                ? "\(batch.events[reject.index].number)" : "unknown"
            logger.error(
                "ingest refused an event for good",
                metadata: [
                    "index": "\(reject.index)", "number": "\(number)", "code": "\(reject.error)",
                    "message": "\(reject.message ?? "")",
                ])
        }
        if let first = rejected.first {
            counters.lastError = "ingest refused \(rejected.count) events: \(first.error)"
        }
        spool.remove(batch)
        counters.eventsDelivered.add(delivered)
        counters.eventsRefused.add(batch.events.count - delivered)
        rotation.succeeded(index)
        // Grown back slowly: the server's limit may have been raised, or the events be smaller.
        batchCount = min(Self.batchCountMax, batchCount * 2)
        if failuresInRow > 0 {
            logger.info(
                "events are delivered again",
                metadata: ["server": "\(urls[index].authority)", "failures": "\(failuresInRow)"])
            failuresInRow = 0
        }
    }

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

    private func tellDrops() {
        guard let numbers = spool.takeDroppedNumbers() else { return }
        logger.error(
            "the spool is full: its oldest events were dropped",
            metadata: [
                "numbers": "\(numbers.lowerBound)-\(numbers.upperBound)",
                "dropped_total": "\(spool.status.dropped)",
            ])
    }

    private func numbers(of batch: SpooledBatch) -> String {
        guard let first = batch.events.first, let last = batch.events.last else { return "none" }
        return first.number == last.number ? "\(first.number)" : "\(first.number)-\(last.number)"
    }
}

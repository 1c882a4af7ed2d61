package import Logging
package import Transport

/// Asks servers for their time, several times at once, as often as that is worth it.
///
/// Used by one thread.
package final class TimeSynchroniser {
    /// The time between two rounds with a server: in it two clocks drift apart by 4.5 ms at most.
    package static let interval = Duration.seconds(300)
    /// Exchanges of a round: one more than it takes to outweigh what was known.
    package static let exchangesPerRound = ClockFilter.contradictionCountMax + 1
    /// How long a server that does not tell the time is not asked again: it may be replaced by a newer one.
    private static let unsupportedPause = Duration.seconds(3600)
    /// How long a server that did not answer, or answered something else, is not asked again.
    private static let failedPause = Duration.seconds(30)
    /// While the time is not known a server is asked before each post, until so many questions in a row stayed
    /// unanswered: it may be that only they do not get through.
    private static let urgentFailuresMax = 3
    /// The least time between a round and one for the wall clock's sake, which may be set again and again.
    private static let stepPause = Duration.seconds(10)
    /// How long one exchange may take: a worse one would hardly be of use.
    private static let timeout = Duration.seconds(5)

    /// What a round came to.
    package enum Outcome: Sendable, Equatable {
        /// There was an answer, if only that there is no such thing.
        case answered
        /// There was none, for this reason, and the time is not known: no post should go before it is.
        case mustWait(String)
        /// There was none, which can wait.
        case failed
    }

    private let urls: [HTTPURL]
    private let clock: ReferenceClock
    private let token: TokenSource
    private let counters: ProbeCounters
    private let logger: Logger
    private var latest: Int?
    private var nextAt = BoottimeInstant(nanoseconds: .min)
    private var nextForStepAt = BoottimeInstant(nanoseconds: .min)
    private var stepCount: UInt64 = 0
    /// Rounds in a row without an answer.
    private var failuresInRow = 0

    /// - Parameter servers: The base addresses of ingest, by which servers are numbered.
    package init(
        servers: [HTTPURL], clock: ReferenceClock, token: TokenSource, counters: ProbeCounters,
        logger: Logger
    ) {
        urls = servers.map { $0.with(requestTarget: $0.path(appending: "/api/v1/time")) }
        self.clock = clock
        self.token = token
        self.counters = counters
        self.logger = logger
    }

    /// Whether a server should be asked now: another than the last one, one asked long ago, or any after the wall
    /// clock was set.
    package func isDue(_ server: Int) -> Bool {
        let now = clock.reading().moment.boottime
        return server != latest || now >= nextAt
            || clock.stepCount != stepCount && now >= nextForStepAt
    }

    /// Has several exchanges with a server on one connection.
    package func synchronise(
        with server: Int, over poster: HTTPPoster, interrupt: Interrupt?
    ) -> Outcome {
        latest = server
        stepCount = clock.stepCount
        for count in 0..<Self.exchangesPerRound {
            do throws(HTTPFailure) {
                let answer = try poster.get(
                    urls[server], token: token.current,
                    Patience(for: Self.timeout, interrupt: interrupt))
                failuresInRow = 0
                guard answer.status == 200, let exchange = TimeExchange(answer) else {
                    endUnanswered(server, answer.status)
                    return .answered
                }
                clock.follow(server)
                clock.add(exchange, with: server)
            } catch {
                counters.count(.failed)
                // What came before counts.
                if count > 0 { break }
                failuresInRow += 1
                let isUrgent =
                    clock.reading().estimate == nil && failuresInRow <= Self.urgentFailuresMax
                pause(isUrgent ? .zero : Self.failedPause)
                return isUrgent ? .mustWait(error.message) : .failed
            }
        }
        clock.save()
        pause(Self.interval)
        return .answered
    }

    /// What is wrong is told by the posts that follow, unless it is that the server is an older one.
    private func endUnanswered(_ server: Int, _ status: Int) {
        clock.follow(nil)
        guard status == 404 || status == 405 else {
            counters.count(.failed)
            return pause(Self.failedPause)
        }
        counters.count(.unsupported)
        logger.info(
            "a server does not tell the time; the answers to heartbeats must do",
            metadata: ["server": "\(urls[server].authority)"])
        pause(Self.unsupportedPause)
    }

    private func pause(_ duration: Duration) {
        let now = clock.reading().moment.boottime.nanoseconds
        nextAt = BoottimeInstant(nanoseconds: now &+ duration.wholeNanoseconds)
        nextForStepAt = BoottimeInstant(nanoseconds: now &+ Self.stepPause.wholeNanoseconds)
    }
}

internal import FoundationEssentials
package import Logging
package import Telemetry
internal import Transport

/// Tells ingest every 30 s that the probe lives and how it is.
///
/// Runs on one owned thread. A heartbeat that cannot be posted is not kept: the next one says more.
package final class HeartbeatReporter {
    /// The time between two heartbeats, which ingest's view of the fleet counts on.
    package static let interval = Duration.seconds(30)
    private static let postTimeout = Duration.seconds(10)

    private let urls: [HTTPURL]
    private let posters: [HTTPPoster]
    private let token: TokenSource
    private let spool: Spool
    private let clock: ReferenceClock
    private let counters: ProbeCounters
    private let logger: Logger
    private let base: () -> Heartbeat
    private let started = MonotonicInstant.now()
    private var usage = ProcessUsage()
    private var isFailing = false
    private var preferred = 0

    /// - Parameter base: What the configuration in force says.
    package init(
        servers: [HTTPURL], base: @escaping () -> Heartbeat, spool: Spool, clock: ReferenceClock,
        dialer: Dialer, token: TokenSource, userAgent: String, suppression: Suppression? = nil,
        counters: ProbeCounters, logger: Logger
    ) {
        urls = servers.map { $0.with(requestTarget: $0.path(appending: "/api/v1/heartbeats")) }
        posters = servers.map { _ in
            HTTPPoster(dialer: dialer, userAgent: userAgent, suppression: suppression)
        }
        self.base = base
        self.spool = spool
        self.clock = clock
        self.token = token
        self.counters = counters
        self.logger = logger
    }

    /// Reports at once and then at every interval until `stop` is triggered.
    package func run(until stop: ProbeStop) {
        var next = MonotonicInstant.now()
        repeat {
            report(Patience(for: Self.postTimeout, interrupt: stop.interrupt))
            next = max(next.advanced(by: Self.interval), .now())
        } while !stop.sleep(until: next)
    }

    /// The heartbeat of this moment.
    package func heartbeat() -> Heartbeat {
        var heartbeat = base()
        let now = clock.reading()
        let status = spool.status
        heartbeat.sentAtMilliseconds = now.moment.wallMilliseconds
        heartbeat.clockOffsetMilliseconds = now.correction.map {
            Double($0.offsetNanoseconds) / 1_000_000
        }
        heartbeat.clockUncertaintyMilliseconds = now.correction.map {
            Double($0.uncertaintyNanoseconds) / 1_000_000
        }
        heartbeat.uptimeSeconds = MonotonicInstant.now().since(started).inSeconds
        heartbeat.spoolDepth = Int64(clamping: status.depth)
        // Without a waiting event there is no age, which is not an age of zero.
        heartbeat.spoolOldestAgeSeconds = status.oldest.flatMap { now.age(of: $0) }.map {
            Double(max(0, $0)) / 1_000_000_000
        }
        heartbeat.drops = Int64(clamping: status.dropped)
        heartbeat.cpuPercent = usage.cpuPercent()
        heartbeat.memoryBytes = ProcessUsage.memoryBytes()
        heartbeat.lastError = counters.lastError
        return heartbeat
    }

    private func report(_ patience: Patience) {
        guard let body = try? JSONEncoder().encode(heartbeat()) else {
            preconditionFailure("a heartbeat of texts and finite numbers can be encoded")
        }
        var reasons: [String] = []
        for offset in urls.indices {
            let index = (preferred + offset) % urls.count
            if let reason = post(Array(body), to: index, patience) {
                reasons.append("\(urls[index].authority): \(reason)")
            } else {
                preferred = index
                counters.heartbeatsSent.add()
                if isFailing { logger.info("heartbeats are taken again") }
                isFailing = false
                return
            }
        }
        counters.heartbeatsFailed.add()
        if !isFailing {
            logger.warning(
                "no server takes heartbeats",
                metadata: ["reasons": "\(reasons.joined(separator: "; "))"])
        }
        isFailing = true
    }

    /// Posts to one server; gives what went wrong.
    private func post(_ body: [UInt8], to index: Int, _ patience: Patience) -> String? {
        do throws(HTTPFailure) {
            let answer = try posters[index].post(
                body, to: urls[index], token: token.current, patience)
            guard (200...299).contains(answer.status) else { return "answered \(answer.status)" }
            if let exchange = TimeExchange(answer) { clock.add(exchange, with: index) }
            return nil
        } catch {
            return error.message
        }
    }
}

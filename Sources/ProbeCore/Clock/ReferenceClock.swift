package import Logging
internal import Synchronization
internal import Transport

/// Ingest's time, as far as this machine knows it, whatever its wall clock says.
///
/// Safe to share among threads. It notices by the way, whenever it is read, that somebody set the wall clock.
package final class ReferenceClock: Sendable {
    private struct State {
        var filter = ClockFilter()
        var watch = WallClockWatch()
        /// Whose time is followed; nil while any server's is as good.
        var server: Int?
        var savedAt: BoottimeInstant?
        var stepCount: UInt64 = 0
    }

    /// The estimate is written down no more often, but for one that replaced another: flash cards wear.
    private static let saveEveryNanoseconds: Int64 = 60_000_000_000

    private let folder: String?
    /// The present cannot be before this, Unix seconds; nil when no run has known ingest's time.
    private let earliestSeconds: Int64?
    private let boot: BootID
    private let source: @Sendable () -> MeasurementMoment
    private let state: Mutex<State>
    private let counters: ProbeCounters
    private let logger: Logger

    /// A clock that knows what an earlier run in the same boot has left in the state folder.
    ///
    /// - Parameters:
    ///   - stateFolder: Nil to keep nothing.
    ///   - source: The machine's clocks.
    package init(
        stateFolder: String?, boot: BootID? = .current(), counters: ProbeCounters, logger: Logger,
        source: @escaping @Sendable () -> MeasurementMoment = { .now() }
    ) {
        // Where the system does not name its boots each run is as good as one.
        self.boot = boot ?? Self.randomBoot()
        self.counters = counters
        self.logger = logger
        self.source = source
        folder = boot == nil ? nil : stateFolder
        earliestSeconds = stateFolder.flatMap(ClockFile.latestSeconds)
        var state = State()
        let now = source()
        _ = state.watch.observe(now)
        if let folder, let known = ClockFile.read(self.boot, at: now.boottime, in: folder) {
            state.filter = ClockFilter(known: known)
        }
        self.state = Mutex(state)
    }

    private static func randomBoot() -> BootID {
        while true {
            if let boot = BootID(UInt64.random(in: .min ... .max)) { return boot }
        }
    }

    /// The present moment and what is known about it.
    package func reading() -> ClockReading {
        let (moment, estimate, step) = state.withLock { state in
            // Within the lock, so that readings are observed in their order.
            let moment = source()
            let step = state.watch.observe(moment)
            if step != nil { state.stepCount &+= 1 }
            return (moment, state.filter.best(at: moment.boottime), step)
        }
        if let step { tell(step) }
        return ClockReading(moment: moment, boot: boot, estimate: estimate)
    }

    /// The time by which to judge certificates, Unix seconds: ingest's; else the wall clock's, but none that
    /// an earlier run has known to be over, as after a start without a battery.
    package var nowSeconds: Int64 {
        let reading = reading()
        let seconds = reading.unixMilliseconds / 1000
        return reading.estimate == nil ? max(seconds, earliestSeconds ?? seconds) : seconds
    }

    /// How often the wall clock was set since the start.
    package var stepCount: UInt64 { state.withLock { $0.stepCount } }

    /// Says whose time is followed: exchanges that others offer do not count. Nil for any.
    package func follow(_ server: Int?) {
        state.withLock { $0.server = server }
    }

    /// Takes an exchange with a server.
    package func add(_ exchange: TimeExchange, with server: Int) {
        guard let estimate = exchange.estimate else { return counters.count(.unusable) }
        typealias Taken = (judgement: ClockFilter.Judgement, wasKnown: Bool, toSave: ClockEstimate?)
        let taken: Taken? = state.withLock { state in
            guard state.server.map({ $0 == server }) ?? true else { return nil }
            let now = estimate.until
            let wasKnown = state.filter.best(at: now) != nil
            let judgement = state.filter.add(estimate)
            let isDue =
                state.savedAt.map { now.nanoseconds(since: $0) >= Self.saveEveryNanoseconds }
                ?? true
            guard isDue || judgement == .replaced else { return (judgement, wasKnown, nil) }
            state.savedAt = now
            return (judgement, wasKnown, state.filter.best(at: now))
        }
        guard let taken else { return }
        if let folder, let best = taken.toSave { ClockFile.write(best, boot, in: folder) }
        switch taken.judgement {
        case .agreed:
            counters.count(.agreed)
            if !taken.wasKnown { tellTime("the time of ingest is known", .info) }
        case .contradicted: counters.count(.contradicted)
        case .replaced:
            counters.count(.replaced)
            tellTime("ingest's clock was set, or it is another server: its time is taken", .warning)
        }
    }

    /// Writes down what is known now, as at the end of several exchanges.
    package func save() {
        let now = source().boottime
        let best = state.withLock { state in
            state.savedAt = now
            return state.filter.best(at: now)
        }
        if let folder, let best { ClockFile.write(best, boot, in: folder) }
    }

    private func tell(_ step: Int64) {
        counters.clockSteps.add()
        let seconds = Duration.nanoseconds(step).inSeconds
        counters.lastError = "the wall clock was set by \(seconds) s"
        logger.warning(
            "the wall clock was set; the times of events do not change by that",
            metadata: ["seconds": "\(seconds)"])
    }

    private func tellTime(_ what: String, _ level: Logger.Level) {
        guard let correction = reading().correction else { return }
        logger.log(
            level: level, "\(what)",
            metadata: [
                "wall_clock_is_behind_by_ms": "\(Double(correction.offsetNanoseconds) / 1e6)",
                "uncertainty_ms": "\(Double(correction.uncertaintyNanoseconds) / 1e6)",
            ])
    }
}

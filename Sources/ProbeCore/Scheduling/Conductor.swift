internal import Logging
internal import OwnedThreads
internal import Telemetry
internal import Transport

/// Measures targets by their schedule, within what the probe may use.
///
/// Each slot of the schedule leads to a measurement or is counted with the reason why not: a slot is never
/// made up for later, as a measurement of another moment would be a measurement of something else. Transfers
/// are the exception: they wait until nothing else is under way, since they would spoil it and it them, and
/// nothing else begins meanwhile.
final class Conductor: Sendable {
    private struct Inbox {
        var newPlan: MeasurementPlan?
        /// What measurements that ended have taken, bytes.
        var spent: [(target: Target, bytes: Int)] = []
        var isWoken = false
        var isStopped = false
        /// Ends what is under way; replaced each time it was used.
        var interrupt: Interrupt
    }

    private let client: Name
    private let pool: WorkerPool
    private let runner: MeasurementRunner
    private let suppression: Suppression
    private let counters: ProbeCounters
    private let trafficFile: TrafficFile?
    private let inbox: Monitor<Inbox>

    /// How long a transfer waits for the end of what is under way, which its timeout bounds by minutes.
    private static let transferPatience = Duration.seconds(60)

    /// - Throws: ``Transport/TransportError`` when the system has no descriptors left.
    init(
        _ plan: MeasurementPlan, client: Name, runner: MeasurementRunner, suppression: Suppression,
        trafficFile: TrafficFile? = nil, counters: ProbeCounters
    ) throws(TransportError) {
        self.trafficFile = trafficFile
        self.client = client
        self.runner = runner
        self.suppression = suppression
        self.counters = counters
        pool = WorkerPool()
        inbox = Monitor(Inbox(newPlan: plan, interrupt: try Interrupt()))
        suppression.onChange { [inbox, logger = runner.logger] isActive in
            logger.notice(isActive ? "told to measure nothing" : "told to measure again")
            inbox.update { state in
                state.isWoken = true
                guard isActive, !state.isStopped, let fresh = try? Interrupt() else { return }
                state.interrupt.trigger()
                state.interrupt = fresh
            }
        }
    }

    /// Measurements under way.
    var inFlight: Int { pool.busy }

    /// Measures by another plan from now on; what is under way goes on, and what stays keeps its rhythm.
    func adopt(_ plan: MeasurementPlan) {
        inbox.update { $0.newPlan = plan }
    }

    /// Ends ``run()`` and interrupts what is under way.
    func stop() {
        inbox.update { state in
            state.isStopped = true
            state.interrupt.trigger()
        }
    }

    /// Measures until ``stop()``; returns when the last measurement has ended.
    func run() {
        var course = Course(usage: Usage(file: trafficFile))
        while true {
            let wake = inbox.wait(until: course.wake) { state -> Inbox? in
                let isNews =
                    state.isWoken || state.isStopped || state.newPlan != nil || !state.spent.isEmpty
                guard isNews else { return nil }
                defer {
                    state.newPlan = nil
                    state.spent = []
                    state.isWoken = false
                }
                return state
            }
            if let wake {
                if wake.isStopped { break }
                if let plan = wake.newPlan { course.adopt(plan, client: client) }
                for (target, bytes) in wake.spent {
                    course.usage.spend(bytes, on: target, now: .now())
                }
            }
            beginWaitingTransfer(&course)
            beginDue(&course)
        }
        pool.shutDown()
        for (target, bytes) in inbox.withLock({ $0.spent }) {
            course.usage.spend(bytes, on: target, now: .now())
        }
        course.usage.keep(now: .now())
    }

    /// What the conducting thread knows.
    private struct Course {
        var plan = MeasurementPlan(targets: [])
        var schedule: Schedule?
        var usage: Usage
        /// Transfers that are due, each target at most once.
        var waiting: [(target: Target, since: MonotonicInstant)] = []
        var isTransferring = false

        /// When there is something to do if nothing happens before; nil for never.
        var wake: ContinuousClock.Instant? {
            let due = [
                schedule?.nextDue, waiting.first?.since.advanced(by: Conductor.transferPatience),
            ]
            return due.compactMap(\.self).min().map { .now + $0.since(.now()) }
        }

        mutating func adopt(_ plan: MeasurementPlan, client: Name) {
            self.plan = plan
            let now = MonotonicInstant.now()
            usage.adopt(plan, now: now)
            schedule = Schedule(
                plan.rhythms, client: client, now: now,
                wallMilliseconds: WallClock.nowMilliseconds(), continuing: schedule)
            let targets = Set(plan.targets)
            waiting.removeAll { !targets.contains($0.target) }
        }
    }

    private func beginDue(_ course: inout Course) {
        let now = MonotonicInstant.now()
        for due in course.schedule?.takeDue(at: now) ?? [] {
            counters.skip(.missed, Int(clamping: due.missed))
            let target = course.plan.targets[due.target]
            if let reason = objection(to: target, &course, at: now) {
                counters.skip(reason)
            } else if target.fillsLink {
                if course.waiting.contains(where: { $0.target == target }) {
                    counters.skip(.busy)
                } else {
                    course.waiting.append((target, now))
                    beginWaitingTransfer(&course)
                }
            } else if !begin(target, course) {
                counters.skip(.busy)
                counters.lastError =
                    "too many measurements at once; raise --max-in-flight, or the limit of threads"
            }
        }
    }

    private func objection(
        to target: Target, _ course: inout Course, at now: MonotonicInstant
    ) -> SkipReason? {
        if suppression.isActive { return .suppressed }
        if course.plan.quietHours.contain(unixMilliseconds: WallClock.nowMilliseconds()) {
            return .quiet
        }
        if let reason = course.usage.objection(to: target, at: now) { return reason }
        let isLinkTaken = course.isTransferring || !course.waiting.isEmpty
        return isLinkTaken && !target.fillsLink ? .transfer : nil
    }

    private func beginWaitingTransfer(_ course: inout Course) {
        let now = MonotonicInstant.now()
        if pool.busy == 0 { course.isTransferring = false }
        course.waiting.removeAll { _, since in
            let isTooLate = now.since(since) >= Self.transferPatience
            if isTooLate { counters.skip(.busy) }
            return isTooLate
        }
        guard pool.busy == 0, let next = course.waiting.first else { return }
        course.waiting.removeFirst()
        guard !suppression.isActive else { return counters.skip(.suppressed) }
        course.isTransferring = begin(next.target, course)
    }

    private func begin(_ target: Target, _ course: Course) -> Bool {
        let interrupt = inbox.withLock { $0.interrupt }
        let plan = course.plan
        return pool.run(atMost: plan.inFlightMax) { [runner, inbox] in
            let bytes = runner.run(target, plan, interrupt)
            return { inbox.update { $0.spent.append((target, bytes)) } }
        }
    }
}

internal import Transport

/// What the probe has used of what it may use, and what that leaves to each target.
///
/// Serves one thread.
struct Usage {
    private var traffic: Allowance?
    private var cpu: Allowance?
    private var cpuTime = ProcessUsage.cpuTime()
    /// What the last measurement of a target took, bytes.
    private var lastTraffic: [Target: Int] = [:]
    /// Nil keeps nothing.
    private let file: TrafficFile?
    private var keptAt: MonotonicInstant?

    private static let day = Duration.seconds(86_400)
    /// Over how long CPU is averaged: one transfer at full speed fits in, steady excess does not.
    private static let cpuSpan = Duration.seconds(300)
    /// The time between two notes of the traffic that is left; after a transfer it is noted at once.
    private static let keepEvery = Duration.seconds(60)

    init(file: TrafficFile? = nil) {
        self.file = file
    }

    /// Takes the bounds of a new plan; what was used stays used.
    mutating func adopt(_ plan: MeasurementPlan, now: MonotonicInstant) {
        traffic = plan.trafficBytesPerDay.map { bytes in
            traffic?.changed(to: Double(bytes), per: Self.day) ?? kept(Double(bytes), now: now)
        }
        cpu = plan.cpuPercentMax.map { percent in
            let seconds = percent / 100 * Self.cpuSpan.inSeconds
            return cpu?.changed(to: seconds, per: Self.cpuSpan)
                ?? Allowance(seconds, per: Self.cpuSpan, now: now)
        }
        let targets = Set(plan.targets)
        lastTraffic = lastTraffic.filter { targets.contains($0.key) }
    }

    /// Notes what a measurement took.
    mutating func spend(_ bytes: Int, on target: Target, now: MonotonicInstant) {
        lastTraffic[target] = bytes
        guard traffic != nil else { return }
        traffic?.spend(Double(bytes))
        let isDue = keptAt.map { now.since($0) >= Self.keepEvery } ?? true
        if isDue || target.fillsLink { keep(now: now) }
    }

    /// Notes what is left of the traffic, for the next run.
    mutating func keep(now: MonotonicInstant) {
        guard let file, let left = traffic?.left(at: now) else { return }
        file.write(left: left, at: WallClock.nowMilliseconds())
        keptAt = now
    }

    /// A full allowance, or what an earlier run left of it.
    private func kept(_ bytes: Double, now: MonotonicInstant) -> Allowance {
        var allowance = Allowance(bytes, per: Self.day, now: now)
        if let (left, at) = file?.read() {
            // A wall clock that was set back gives nothing back, one that was set ahead a day's at most.
            let elapsed = max(0, WallClock.nowMilliseconds() &- at)
            allowance.resume(left: left, after: .milliseconds(elapsed))
        }
        return allowance
    }

    /// Why `target` cannot be measured at `now`; nil when it can.
    mutating func objection(to target: Target, at now: MonotonicInstant) -> SkipReason? {
        if let left = cpuLeft(at: now), left <= 0 { return .cpu }
        guard let left = traffic?.left(at: now) else { return nil }
        // At least a byte, so that a debt is paid back before anything is measured.
        let needed = max(1, lastTraffic[target] ?? target.trafficBytesMax)
        return left < Double(needed) ? .traffic : nil
    }

    private mutating func cpuLeft(at now: MonotonicInstant) -> Double? {
        guard cpu != nil, let used = ProcessUsage.cpuTime() else { return nil }
        if let before = cpuTime { cpu?.spend((used - before).inSeconds) }
        cpuTime = used
        return cpu?.left(at: now)
    }
}

extension Target {
    /// The most that a first measurement may take of the day's traffic, bytes: of transfers their budget.
    fileprivate var trafficBytesMax: Int {
        switch method {
        case .transfer(let transfer): transfer.budget.bytesMax
        case .loaded(let loaded): loaded.budget.bytesMax
        case .http, .dns, .tcp, .echo, .firstHop: 0
        }
    }

    /// Whether it fills the link, so that nothing else is measured meanwhile.
    var fillsLink: Bool {
        switch method {
        case .transfer, .loaded: true
        case .http, .dns, .tcp, .echo, .firstHop: false
        }
    }
}

/// How long a relay sleeps before the moment at which a packet is due.
///
/// A sleeping processor of a virtual machine wakes some 0.3 ms after its timer. So a relay sleeps until shortly before
/// the moment and looks at the clock from then on. As it runs before all others, it does so for a part of the time only:
/// among packets that are close together, those in between are as late as the timer is.
struct WakePlan: Sendable {
    /// Longer than a timer is late in most cases.
    static let lead = Duration.microseconds(400)
    /// Four times as long as a lead: one processor is used up by a fifth at most.
    static let rest = Duration.microseconds(1600)

    /// The last moment for which the relay stays or stayed awake.
    private var awakeUntil: ContinuousClock.Instant?

    /// How long to sleep when the next packet is due at `moment`; zero is to stay awake.
    mutating func sleep(
        until moment: ContinuousClock.Instant, at now: ContinuousClock.Instant
    ) -> Duration {
        if let awakeUntil, moment <= awakeUntil { return .zero }
        let mayWakeFrom = max(now, awakeUntil.map { $0 + Self.rest } ?? now)
        let early = moment - Self.lead
        if early > mayWakeFrom { return now.duration(to: early) }
        if now < mayWakeFrom { return max(.zero, now.duration(to: moment)) }
        awakeUntil = moment
        return .zero
    }
}

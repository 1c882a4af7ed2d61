/// The monotonic clock and the wall clock, read at the same moment.
///
/// The kernel stamps arriving packets with the wall clock. A packet's age by that clock, taken off the
/// monotonic clock, is its arrival on the clock that nobody sets.
struct ClockReading: Sendable, Equatable {
    let monotonic: MonotonicInstant
    let wallNanoseconds: Int64

    /// Readings further apart than this are taken again: the process had to wait for a CPU in between.
    private static let apartMax = Duration.microseconds(20)
    private static let attemptsMax = 4
    /// How far the two clocks may come apart between two readings before that is a step of the wall clock.
    /// NTP's slewing moves both clocks alike; what is left is the readings' own error.
    private static let stepNanosecondsMin: Int64 = 200_000
    /// How much earlier than the last look at an empty socket a packet may have been stamped: the stamp is
    /// made when the packet enters the machine, before it reaches the socket.
    private static let queueingMax = Duration.milliseconds(1)

    static func now() -> ClockReading {
        var best: (reading: ClockReading, apart: Duration)?
        for _ in 0..<attemptsMax {
            let before = MonotonicInstant.now()
            let wall = WallClock.nowNanoseconds()
            let apart = MonotonicInstant.now().since(before)
            if best.map({ apart < $0.apart }) ?? true {
                let middle = before.advanced(by: apart / 2)
                best = (ClockReading(monotonic: middle, wallNanoseconds: wall), apart)
            }
            if apart <= apartMax { break }
        }
        guard let best else { preconditionFailure("at least one reading is made") }
        return best.reading
    }

    /// When a packet arrived that the kernel stamped with `stamp` (Unix nanoseconds) after `earlier`, at which
    /// none was there, and before this reading.
    ///
    /// - Returns: Nil when the wall clock was set meanwhile, or the stamp lies outside the two readings: it
    ///   then says nothing.
    func arrival(stampedAt stamp: Int64, after earlier: ClockReading) -> MonotonicInstant? {
        let (wallElapsed, overflow) = wallNanoseconds.subtractingReportingOverflow(
            earlier.wallNanoseconds)
        let elapsed = monotonic.since(earlier.monotonic).wholeNanoseconds
        let (step, stepOverflow) = wallElapsed.subtractingReportingOverflow(elapsed)
        let (age, ageOverflow) = wallNanoseconds.subtractingReportingOverflow(stamp)
        guard !overflow, !stepOverflow, !ageOverflow,
            step.magnitude <= Self.stepNanosecondsMin.magnitude,
            age >= -Self.stepNanosecondsMin
        else { return nil }
        let arrival = monotonic.advanced(by: .nanoseconds(-max(0, age)))
        return arrival >= earlier.monotonic.advanced(by: .zero - Self.queueingMax) ? arrival : nil
    }
}

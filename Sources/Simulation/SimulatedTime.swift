/// The time of one run, which moves when the scheduler says so.
///
/// Unchecked: a run is one thread, and only that thread holds its clocks.
final class SimulatedTime: @unchecked Sendable {
    /// Milliseconds since the run began, plus ``start``.
    var milliseconds = SimulatedTime.start

    /// 2023-12-23T16:00:00Z.
    static let start: Int64 = 1_703_347_200_000

    /// Instants are compared only with each other, so any origin will do.
    static let origin = ContinuousClock.now
}

/// What one component believes about time.
///
/// Unchecked for the same reason as ``SimulatedTime``.
final class ComponentClock: @unchecked Sendable {
    private let time: SimulatedTime
    /// How far the wall clock is ahead, ms.
    var wallOffset: Int64 = 0

    init(_ time: SimulatedTime) {
        self.time = time
    }

    var instant: ContinuousClock.Instant {
        SimulatedTime.origin + .milliseconds(time.milliseconds - SimulatedTime.start)
    }

    var wallMilliseconds: Int64 { time.milliseconds + wallOffset }
}

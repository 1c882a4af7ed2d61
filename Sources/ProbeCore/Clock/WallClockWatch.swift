/// Notices that somebody set the wall clock.
///
/// A pure value. What only makes the clock run faster or slower (adjtimex(2), as NTP mostly does) moves the clock since
/// boot in the same way: the two come apart by steps alone.
package struct WallClockWatch: Sendable {
    /// Smaller changes are not steps: two readings are apart by the time that the process waits for a CPU.
    package static let thresholdNanoseconds: Int64 = 100_000_000

    private var last: Int64?

    package init() {}

    /// Takes a reading; gives the size of the step since the last one, nanoseconds, if there was one.
    package mutating func observe(_ moment: MeasurementMoment) -> Int64? {
        let apart = moment.wallAheadNanoseconds
        defer { last = apart }
        guard let last else { return nil }
        return Self.step(from: last, to: apart)
    }

    /// The step between two readings, if there was one.
    package static func step(from first: MeasurementMoment, to second: MeasurementMoment) -> Int64?
    {
        step(from: first.wallAheadNanoseconds, to: second.wallAheadNanoseconds)
    }

    private static func step(from first: Int64, to second: Int64) -> Int64? {
        let (step, overflow) = second.subtractingReportingOverflow(first)
        if overflow { return second < first ? .min : .max }
        return step.magnitude >= thresholdNanoseconds.magnitude ? step : nil
    }
}

internal import Transport

/// How far this machine's wall clock is from ingest's time.
enum ClockCheck {
    static let name = "clock"

    /// A wall clock that is further off is worth a warning.
    private static let offsetNanosecondsMax: Int64 = 1_000_000_000
    /// The first moment of 2024, before which this program was not written: a clock that was never set.
    private static let earliestMilliseconds: Int64 = 1_704_067_200_000

    static func finding(_ reading: ClockReading) -> CheckFinding {
        guard let correction = reading.correction else {
            guard reading.moment.wallMilliseconds >= earliestMilliseconds else {
                return .warning(name, "the wall clock is before 2024", neverSet)
            }
            return .skipped(name, "no server told its time")
        }
        let offset = correction.offsetNanoseconds
        let side = offset < 0 ? "ahead of" : "behind"
        let found =
            "the wall clock is \(text(offset.magnitude)) \(side) ingest's, give or take"
            + " \(text(correction.uncertaintyNanoseconds.magnitude))"
        if reading.moment.wallMilliseconds < earliestMilliseconds {
            return .warning(name, found + ", and before 2024", neverSet)
        }
        guard offset.magnitude <= offsetNanosecondsMax.magnitude else {
            return .warning(
                name, found,
                "the probe corrects it, but fix NTP: TLS and other programs go by the wall clock")
        }
        return .ok(name, found)
    }

    private static let neverSet =
        "set up NTP, or set the clock: with TLS every certificate seems not to be valid yet"

    private static func text(_ nanoseconds: UInt64) -> String {
        let milliseconds = Double(nanoseconds) / 1_000_000
        return milliseconds < 1000
            ? "\(decimal(milliseconds)) ms" : "\(decimal(milliseconds / 1000)) s"
    }
}

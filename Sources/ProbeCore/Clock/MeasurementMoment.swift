package import Transport

/// A moment on both of the machine's clocks: the one that people set, and the one that nobody can.
///
/// Where the moment lies in ingest's time follows from ``boottime``; the wall clock is what is left when that is
/// not known.
package struct MeasurementMoment: Sendable, Hashable {
    /// The wall clock, Unix nanoseconds.
    package let wallNanoseconds: Int64
    /// The clock since boot at the same moment, to the time that two readings take.
    package let boottime: BoottimeInstant

    /// Readings further apart than this are taken again: this process had to wait for a CPU in between.
    private static let apartNanosecondsMax: Int64 = 50_000
    private static let attemptsMax = 4

    package init(wallNanoseconds: Int64, boottime: BoottimeInstant) {
        self.wallNanoseconds = wallNanoseconds
        self.boottime = boottime
    }

    /// The present moment.
    package static func now() -> MeasurementMoment {
        var best: (moment: MeasurementMoment, apart: Int64)?
        for _ in 0..<attemptsMax {
            let before = BoottimeInstant.now()
            let wall = WallClock.nowNanoseconds()
            let apart = BoottimeInstant.now().nanoseconds(since: before)
            if best.map({ apart < $0.apart }) ?? true {
                let middle = BoottimeInstant(nanoseconds: before.nanoseconds &+ apart / 2)
                best = (MeasurementMoment(wallNanoseconds: wall, boottime: middle), apart)
            }
            if apart <= apartNanosecondsMax { break }
        }
        guard let best else { preconditionFailure("at least one reading is made") }
        return best.moment
    }

    /// The wall clock, Unix milliseconds.
    package var wallMilliseconds: Int64 { wallNanoseconds / 1_000_000 }

    /// The wall clock less the clock since boot, nanoseconds: changes only when the wall clock is set.
    package var wallAheadNanoseconds: Int64 {
        wallNanoseconds.subtractingReportingOverflow(boottime.nanoseconds).partialValue
    }
}

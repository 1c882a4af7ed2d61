internal import Glibc

/// A moment of the system's clock since boot (`CLOCK_BOOTTIME`), in nanoseconds.
///
/// It never jumps when the wall clock is set, goes on while the machine is suspended, and begins
/// anew at every boot: moments of two boots cannot be compared.
package struct BoottimeInstant: Hashable, Comparable, Sendable {
    /// Nanoseconds since the machine was booted.
    package let nanoseconds: Int64

    package init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    /// The present moment.
    package static func now() -> BoottimeInstant {
        var time = timespec()
        let result = unsafe clock_gettime(CLOCK_BOOTTIME, &time)
        precondition(result == 0, "CLOCK_BOOTTIME is there since Linux 2.6.39")
        return BoottimeInstant(
            nanoseconds: Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec))
    }

    /// The nanoseconds from `earlier` to this moment, negative when `earlier` is later; held within the type's range.
    package func nanoseconds(since earlier: BoottimeInstant) -> Int64 {
        let (difference, overflow) = nanoseconds.subtractingReportingOverflow(earlier.nanoseconds)
        if overflow { return nanoseconds < earlier.nanoseconds ? .min : .max }
        return difference
    }

    package static func < (a: BoottimeInstant, b: BoottimeInstant) -> Bool {
        a.nanoseconds < b.nanoseconds
    }
}

internal import Glibc

/// A moment of the system's monotonic clock (`CLOCK_MONOTONIC`), in nanoseconds.
///
/// It never jumps when the wall clock is set and does not advance while the machine is suspended.
package struct MonotonicInstant: Hashable, Comparable, Sendable {
    /// Nanoseconds since an arbitrary start, the same for the whole machine.
    package let nanoseconds: UInt64

    package init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

    /// The present moment.
    package static func now() -> MonotonicInstant {
        var time = timespec()
        let result = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        precondition(result == 0, "CLOCK_MONOTONIC is always there")
        let seconds = UInt64(max(0, time.tv_sec)), rest = UInt64(max(0, time.tv_nsec))
        return MonotonicInstant(nanoseconds: seconds &* 1_000_000_000 &+ rest)
    }

    /// The moment `duration` later, or earlier when it is negative; held within the clock's range.
    package func advanced(by duration: Duration) -> MonotonicInstant {
        let step = duration.wholeNanoseconds
        if step >= 0 {
            let (sum, overflow) = nanoseconds.addingReportingOverflow(UInt64(step))
            return MonotonicInstant(nanoseconds: overflow ? .max : sum)
        }
        let back = step.magnitude
        return MonotonicInstant(nanoseconds: nanoseconds > back ? nanoseconds - back : 0)
    }

    /// The time from `earlier` to this moment; zero when `earlier` is not earlier.
    package func since(_ earlier: MonotonicInstant) -> Duration {
        guard nanoseconds > earlier.nanoseconds else { return .zero }
        let elapsed = nanoseconds - earlier.nanoseconds
        return .nanoseconds(Int64(clamping: elapsed))
    }

    package static func < (a: MonotonicInstant, b: MonotonicInstant) -> Bool {
        a.nanoseconds < b.nanoseconds
    }
}

extension Duration {
    /// The duration in nanoseconds, rounded down and held within the range of the type.
    package var wholeNanoseconds: Int64 {
        let parts = components
        let (scaled, overflow) = parts.seconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return parts.seconds < 0 ? .min : .max }
        let rest = parts.attoseconds / 1_000_000_000
        let (sum, carried) = scaled.addingReportingOverflow(rest)
        if carried { return parts.seconds < 0 ? .min : .max }
        return sum
    }

    /// The duration in milliseconds, to the nanosecond.
    package var inMilliseconds: Double { Double(wholeNanoseconds) / 1_000_000 }

    /// The duration in seconds, to the nanosecond.
    package var inSeconds: Double { Double(wholeNanoseconds) / 1_000_000_000 }
}

/// The wall clock, for timestamps only: durations come from ``MonotonicInstant``.
package enum WallClock {
    /// The present moment in Unix milliseconds.
    package static func nowMilliseconds() -> Int64 {
        nowNanoseconds() / 1_000_000
    }

    /// The present moment in Unix nanoseconds.
    package static func nowNanoseconds() -> Int64 {
        var time = timespec()
        let result = unsafe clock_gettime(CLOCK_REALTIME, &time)
        precondition(result == 0, "CLOCK_REALTIME is always there")
        return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    }
}

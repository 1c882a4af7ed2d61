internal import Glibc

/// The system's clock, as log lines and `process_start_time_seconds` show it.
package enum WallClock {
    /// Milliseconds since 1970 in UTC, leap seconds not counted.
    package struct Instant: Sendable, Equatable {
        package var milliseconds: Int64

        package init(milliseconds: Int64) {
            self.milliseconds = milliseconds
        }

        /// Such as `2026-01-02T03:04:05.678Z` (RFC 3339).
        package var rfc3339: String {
            let day = milliseconds.quotientFlooring(by: 86_400_000)
            let inDay = milliseconds &- day &* 86_400_000
            let (year, month, dayOfMonth) = Self.civil(fromDays: day)
            var text = ""
            text.reserveCapacity(24)
            Self.append(year, digits: 4, to: &text)
            text += "-"
            Self.append(month, digits: 2, to: &text)
            text += "-"
            Self.append(dayOfMonth, digits: 2, to: &text)
            text += "T"
            Self.append(inDay / 3_600_000, digits: 2, to: &text)
            text += ":"
            Self.append(inDay / 60_000 % 60, digits: 2, to: &text)
            text += ":"
            Self.append(inDay / 1000 % 60, digits: 2, to: &text)
            text += "."
            Self.append(inDay % 1000, digits: 3, to: &text)
            text += "Z"
            return text
        }

        private static func append(_ number: Int64, digits: Int, to text: inout String) {
            let written = String(number)
            text += String(repeating: "0", count: max(0, digits - written.utf8.count))
            text += written
        }

        /// Year, month and day of the proleptic Gregorian calendar: counts years from March, so
        /// that the leap day is a year's last, in eras of 400 years, which all have equal length.
        private static func civil(
            fromDays days: Int64
        ) -> (year: Int64, month: Int64, day: Int64) {
            let sinceMarchOfYearZero = days &+ 719_468
            let era = sinceMarchOfYearZero.quotientFlooring(by: 146_097)
            let dayOfEra = sinceMarchOfYearZero &- era &* 146_097
            let yearOfEra =
                (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
            let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
            let monthFromMarch = (5 * dayOfYear + 2) / 153
            let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
            let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
            return (era * 400 + yearOfEra + (month <= 2 ? 1 : 0), month, day)
        }
    }

    static func now() -> Instant {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Instant(milliseconds: Int64(time.tv_sec) &* 1000 &+ Int64(time.tv_nsec) / 1_000_000)
    }
}

extension Int64 {
    fileprivate func quotientFlooring(by divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}

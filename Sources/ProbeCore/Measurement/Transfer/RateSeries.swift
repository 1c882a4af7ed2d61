internal import Transport

/// How many bytes had arrived at moments of a transfer, and the rate that follows.
///
/// A transfer begins slowly, as its senders feel their way (slow start, RFC 5681, section 3.1), so its
/// beginning is left out of the rate by this rule: the time is cut into intervals of a twentieth of the
/// whole, at least 10 and at most 100 ms. The ramp ends with the first interval whose rate reaches
/// ``rampShare`` of the median rate of the second half, at the latest in the middle of the time. The rate is
/// the bytes after the ramp over the time after it.
///
/// A pure value.
package struct RateSeries: Sendable {
    /// The part of a transfer after its ramp.
    package struct Steady: Sendable, Equatable {
        /// From the transfer's begin to the end of the ramp.
        package let ramp: Duration
        package let duration: Duration
        package let bytes: Int
        /// Whether the rate had settled: it came near to that of the second half within the first, and the last
        /// quarter was not faster than the one before by more than ``growthMax``.
        package let hasSettled: Bool

        /// Mbit/s.
        package var megabitsPerSecond: Double {
            RateSeries.megabitsPerSecond(bytes, duration)
        }
    }

    /// The shortest interval; points closer together are not kept, which bounds the memory.
    package static let intervalMin = Duration.milliseconds(10)
    package static let intervalMax = Duration.milliseconds(100)
    /// The fewest intervals that can be told into a ramp and a rest.
    package static let intervalsMin = 5
    /// The share of the later rate at which the ramp is over.
    package static let rampShare = 0.9
    /// By how much a settled rate may still grow from the third quarter to the last.
    package static let growthMax = 1.25
    private static let intervalsWanted = 20

    private struct Point {
        let elapsed: Duration
        let bytes: Int
    }

    private var points = [Point(elapsed: .zero, bytes: 0)]

    package init() {}

    /// Adds that `bytes` in all had arrived `elapsed` after the begin; both only grow.
    package mutating func add(_ bytes: Int, at elapsed: Duration) {
        guard let last = points.last, elapsed > last.elapsed else { return }
        points.append(Point(elapsed: elapsed, bytes: max(bytes, last.bytes)))
    }

    package var duration: Duration { points.last?.elapsed ?? .zero }
    package var bytes: Int { points.last?.bytes ?? 0 }

    /// The rate over the whole time, Mbit/s; nil when there was none.
    package var overallMegabitsPerSecond: Double? {
        duration > .zero ? Self.megabitsPerSecond(bytes, duration) : nil
    }

    /// The part after the ramp; nil when the transfer was too short to tell.
    package var steady: Steady? {
        let kept = intervals
        let rates = zip(kept, kept.dropFirst()).map {
            Self.megabitsPerSecond($1.bytes - $0.bytes, $1.elapsed - $0.elapsed)
        }
        guard rates.count >= Self.intervalsMin, let end = kept.last else { return nil }
        let half = rates.count / 2
        let later = Statistics.median(Array(rates[half...])) ?? 0
        let reached = rates[..<half].firstIndex { $0 >= Self.rampShare * later }
        // The interval that reaches the rate belongs to the ramp, as part of it may have been slower.
        let begin = kept[reached.map { $0 + 1 } ?? half]
        let quarter = half / 2
        let third = Statistics.median(Array(rates[half..<(rates.count - quarter)])) ?? 0
        let last = Statistics.median(Array(rates[(rates.count - quarter)...])) ?? 0
        return Steady(
            ramp: begin.elapsed, duration: end.elapsed - begin.elapsed,
            bytes: end.bytes - begin.bytes,
            hasSettled: reached != nil && last <= Self.growthMax * third)
    }

    /// Whether nothing arrived in the second half of the time.
    package var hasStoodStill: Bool {
        points.last { $0.elapsed <= duration / 2 }?.bytes == bytes
    }

    /// The rate in each whole stretch of `length`, Mbit/s, from the begin on.
    package func rates(every length: Duration) -> [Double] {
        var result: [Double] = []
        var begin = points[0]
        for point in points where point.elapsed - begin.elapsed >= length {
            result.append(
                Self.megabitsPerSecond(point.bytes - begin.bytes, point.elapsed - begin.elapsed))
            begin = point
        }
        return result
    }

    /// Points an interval apart; the last one is the end, in the place of one that is too near to it.
    private var intervals: [Point] {
        let length = min(
            Self.intervalMax, max(Self.intervalMin, duration / Self.intervalsWanted))
        var kept = [points[0]]
        for point in points where point.elapsed - kept[kept.count - 1].elapsed >= length {
            kept.append(point)
        }
        if let last = points.last, last.elapsed > kept[kept.count - 1].elapsed {
            if kept.count > 1 { kept.removeLast() }
            kept.append(last)
        }
        return kept
    }

    static func megabitsPerSecond(_ bytes: Int, _ duration: Duration) -> Double {
        let seconds = duration.inSeconds
        return seconds > 0 ? Double(bytes) * 8 / seconds / 1_000_000 : 0
    }
}

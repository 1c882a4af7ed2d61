package import Telemetry

/// The exact part of a metric's aggregate: how many values, their sum, and the extremes.
package struct MetricSummary: Hashable, Sendable {
    /// How many values there were.
    package private(set) var count: UInt64 = 0
    /// Their sum in millionths; stays at the largest value a `bigint` holds instead of overflowing.
    package private(set) var sum: Int64 = 0
    private var minimumMillionths: UInt64 = 0
    private var maximumMillionths: UInt64 = 0

    /// No values.
    package init() {}

    /// A summary from its stored parts, or nil when they contradict each other.
    package init?(count: Int64, sum: Int64, minimum: MetricValue, maximum: MetricValue) {
        guard count > 0, sum >= 0, minimum <= maximum else { return nil }
        self.count = UInt64(count)
        self.sum = sum
        minimumMillionths = minimum.millionths
        maximumMillionths = maximum.millionths
    }

    /// The smallest value, or nil when there was none.
    package var minimum: MetricValue? {
        count == 0 ? nil : MetricValue(millionths: minimumMillionths)
    }

    /// The largest value, or nil when there was none.
    package var maximum: MetricValue? {
        count == 0 ? nil : MetricValue(millionths: maximumMillionths)
    }

    @inline(__always)
    package mutating func insert(_ value: MetricValue) {
        let millionths = value.millionths
        if count == 0 || millionths < minimumMillionths { minimumMillionths = millionths }
        if count == 0 || millionths > maximumMillionths { maximumMillionths = millionths }
        count &+= 1
        let (total, overflow) = sum.addingReportingOverflow(Int64(clamping: millionths))
        sum = overflow ? .max : total
    }
}

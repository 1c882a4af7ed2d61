/// A quantity that one event can carry.
///
/// The raw value is the metric's position in blocks and in every table: it is part of the wire
/// format, so a case is added at the end and never moved.
package enum Metric: UInt8, CaseIterable, Sendable, Hashable {
    /// Time to resolve the target's name, ms.
    case dns = 0
    /// Time of the TCP handshake, ms.
    case tcp = 1
    /// Time of the TLS handshake, ms.
    case tls = 2
    /// Time from the request sent to the first byte of the answer, ms.
    case ttfb = 3
    /// Rate at which the body arrived, Mbit/s.
    case throughput = 4
    /// Time from the first lookup to the last byte, ms.
    case total = 5
    /// Round-trip time, ms.
    case rtt = 6
    /// Variation of the round-trip time, ms.
    case jitter = 7
    /// Share of packets lost, percent.
    case loss = 8
    /// Round-trip time while a transfer runs, ms.
    case loadedRTT = 9

    /// How many metrics there are.
    package static let count = 10

    /// The unit a metric is posted and shown in.
    package enum Unit: String, Sendable {
        case milliseconds = "ms"
        case megabitsPerSecond = "Mbit/s"
        case percent = "%"
    }

    /// The unit of ``jsonName`` and of the columns that show this metric.
    package var unit: Unit {
        switch self {
        case .throughput: .megabitsPerSecond
        case .loss: .percent
        case .dns, .tcp, .tls, .ttfb, .total, .rtt, .jitter, .loadedRTT: .milliseconds
        }
    }

    /// The prefix of this metric's columns in SQL.
    package var sqlName: String {
        switch self {
        case .dns: "dns"
        case .tcp: "tcp"
        case .tls: "tls"
        case .ttfb: "ttfb"
        case .throughput: "throughput"
        case .total: "total"
        case .rtt: "rtt"
        case .jitter: "jitter"
        case .loss: "loss"
        case .loadedRTT: "loaded_rtt"
        }
    }

    /// The member of `timing_measurements` that carries this metric.
    package var jsonName: String {
        switch unit {
        case .milliseconds: sqlName + "_ms"
        case .megabitsPerSecond: sqlName + "_mbps"
        case .percent: sqlName + "_pct"
        }
    }

    /// The largest value accepted, in ``unit``: an hour, a terabit per second, or all packets.
    package var maximum: Double {
        switch unit {
        case .milliseconds: 3_600_000
        case .megabitsPerSecond: 1_000_000
        case .percent: 100
        }
    }
}

/// A measured value as an integer in millionths of its metric's unit.
///
/// A time is in nanoseconds, a rate in bit/s, a loss in millionths of a percent. Integers make sums
/// independent of the order in which they are added; a millionth keeps the rounding far below
/// the 1 % of the sketches for every value a network can show.
package struct MetricValue: Hashable, Comparable, Sendable {
    /// Millionths of the metric's unit.
    package let millionths: UInt64

    /// Millionths in one unit.
    package static let scale = 1_000_000.0

    /// A value from its stored integer.
    package init(millionths: UInt64) {
        self.millionths = millionths
    }

    /// A value from a number in the metric's unit, rounded to the nearest millionth.
    ///
    /// Returns nil when `value` is not finite, is negative, or exceeds ``Metric/maximum``. A negative
    /// zero is zero.
    package init?(_ value: Double, of metric: Metric) {
        guard value >= 0, value <= metric.maximum else { return nil }
        // At most 3.6e12 by the check above, so the conversion cannot trap.
        millionths = UInt64((value * Self.scale).rounded(.toNearestOrAwayFromZero))
    }

    /// The largest stored integer of `metric`.
    package static func maximum(of metric: Metric) -> MetricValue {
        MetricValue(millionths: UInt64(metric.maximum * scale))
    }

    /// The value in the metric's unit.
    package var inUnit: Double { Double(millionths) / Self.scale }

    package static func < (a: MetricValue, b: MetricValue) -> Bool {
        a.millionths < b.millionths
    }
}

/// The values of one event: for each metric either a value or nothing.
package struct MetricSet: Hashable, Sendable {
    private var values = [UInt64](repeating: 0, count: Metric.count)

    /// Bit *n* is set when the metric with raw value *n* was measured.
    package private(set) var mask: UInt16 = 0

    /// Nothing measured.
    package init() {}

    /// The value of `metric`, or nil when it was not measured.
    package subscript(metric: Metric) -> MetricValue? {
        get {
            let index = Int(metric.rawValue)
            return mask & (1 << index) == 0 ? nil : MetricValue(millionths: values[index])
        }
        set {
            let index = Int(metric.rawValue)
            values[index] = newValue?.millionths ?? 0
            if newValue == nil { mask &= ~(1 << index) } else { mask |= 1 << index }
        }
    }

    /// Whether nothing was measured.
    package var isEmpty: Bool { mask == 0 }
}

package import Sketches
package import Telemetry

/// Everything that is known about one client and one target in one window.
///
/// A cell is all integers, so the order in which events are added cannot change a bit of it, and it is the
/// complete state of its row: writing and reading it back gives the same cell.
package struct Cell: Hashable, Sendable {
    package var total: Int64 = 0
    package var success: Int64 = 0
    package var error: Int64 = 0
    /// Events received more than two minutes after the window's end.
    package var late: Int64 = 0
    private var errorsByStage = InlineArray<5, Int64>(repeating: 0)
    private var summaries = InlineArray<10, MetricSummary>(repeating: MetricSummary())
    /// The sketches of all metrics: the key is `metric << 12 | bucket`.
    private var bins = BinTable()
    /// What the newest event said about its network; among several of the same time the greatest in
    /// ``ContextOrder``.
    package private(set) var context = NetworkContext()
    /// When the event that ``context`` is from was measured, Unix milliseconds; nil before the first event.
    package private(set) var contextMeasuredAtMilliseconds: Int64?

    /// Bits of a bin's key that hold the bucket.
    private static let bucketBits: UInt32 = 12

    package init() {}

    /// Whether no event was counted.
    package var isEmpty: Bool { total == 0 }

    /// How many events failed at `stage`.
    package func errors(at stage: ErrorStage) -> Int64 {
        errorsByStage[Int(stage.rawValue) - 1]
    }

    /// The exact part of `metric`.
    package func summary(of metric: Metric) -> MetricSummary {
        summaries[Int(metric.rawValue)]
    }

    /// The stored form of the sketch of `metric`: `bucket << 40 | count`, ascending.
    package func sketchElements(of metric: Metric) -> [UInt64] {
        let prefix = UInt32(metric.rawValue) << Self.bucketBits
        let mask = UInt64(1) << (UInt64(Self.bucketBits) + BinTable.countBits) - 1
        return bins.elements(in: prefix..<prefix + 1 << Self.bucketBits).map { $0 & mask }
    }

    /// The *q*-quantile of `metric` in millionths, or nil when it was not measured: within 1 % of the exact
    /// answer, and never outside of the exact minimum and maximum.
    package func quantile(_ q: Double, of metric: Metric) -> Double? {
        quantile(q, of: metric, sketch: sketchElements(of: metric))
    }

    /// As ``quantile(_:of:)``, for a caller that has ``sketchElements(of:)`` at hand.
    package func quantile(_ q: Double, of metric: Metric, sketch: [UInt64]) -> Double? {
        let summary = summary(of: metric)
        guard let minimum = summary.minimum, let maximum = summary.maximum,
            let estimate = QuantileSketch.quantile(q, of: sketch[...])
        else { return nil }
        return min(max(estimate, Double(minimum.millionths)), Double(maximum.millionths))
    }

    /// Counts one event.
    package mutating func count(errorStage: ErrorStage?, isLate: Bool) {
        total &+= 1
        if let errorStage {
            error &+= 1
            errorsByStage[Int(errorStage.rawValue) - 1] &+= 1
        } else {
            success &+= 1
        }
        if isLate { late &+= 1 }
    }

    /// Adds one value of `metric`.
    @inline(__always)
    package mutating func insert(_ value: MetricValue, of metric: Metric) {
        let bucket = BucketMapping.shared.bucket(of: value.millionths)
        summaries[Int(metric.rawValue)].insert(value)
        bins.add(
            key: UInt32(metric.rawValue) << Self.bucketBits | UInt32(truncatingIfNeeded: bucket))
    }

    /// Takes over `context` when its event is newer than the one the current context is from.
    package mutating func update(context: NetworkContext, measuredAtMilliseconds: Int64) {
        if let current = contextMeasuredAtMilliseconds {
            if measuredAtMilliseconds < current { return }
            if measuredAtMilliseconds == current,
                !ContextOrder.precedes(self.context, context)
            {
                return
            }
        }
        self.context = context
        contextMeasuredAtMilliseconds = measuredAtMilliseconds
    }

    /// The stored parts of a cell, as they come from a row.
    package struct Parts {
        package var total: Int64
        package var success: Int64
        package var error: Int64
        package var late: Int64
        package var errorsByStage: [ErrorStage: Int64]
        /// Summary and stored sketch of each metric that was measured.
        package var metrics: [Metric: (summary: MetricSummary, sketch: [UInt64])]
        package var context: NetworkContext
        package var contextMeasuredAtMilliseconds: Int64?

        package init(
            total: Int64, success: Int64, error: Int64, late: Int64,
            errorsByStage: [ErrorStage: Int64],
            metrics: [Metric: (summary: MetricSummary, sketch: [UInt64])],
            context: NetworkContext, contextMeasuredAtMilliseconds: Int64?
        ) {
            self.total = total
            self.success = success
            self.error = error
            self.late = late
            self.errorsByStage = errorsByStage
            self.metrics = metrics
            self.context = context
            self.contextMeasuredAtMilliseconds = contextMeasuredAtMilliseconds
        }
    }

    /// A cell from its stored parts, or nil when a sketch is not canonical or does not count what its summary does.
    package init?(_ parts: Parts) {
        total = parts.total
        success = parts.success
        error = parts.error
        late = parts.late
        context = parts.context
        contextMeasuredAtMilliseconds = parts.contextMeasuredAtMilliseconds
        for (stage, count) in parts.errorsByStage {
            errorsByStage[Int(stage.rawValue) - 1] = count
        }
        var elements: [UInt64] = []
        for metric in Metric.allCases {
            guard let (summary, stored) = parts.metrics[metric] else { continue }
            guard let sketch = QuantileSketch(elements: stored), sketch.count == summary.count
            else { return nil }
            summaries[Int(metric.rawValue)] = summary
            let prefix = UInt64(metric.rawValue) << (UInt64(Self.bucketBits) + BinTable.countBits)
            for element in sketch.elements { elements.append(prefix | element) }
        }
        guard let bins = BinTable(elements: elements) else { return nil }
        self.bins = bins
    }

    package static func == (a: Cell, b: Cell) -> Bool {
        a.total == b.total && a.success == b.success && a.error == b.error && a.late == b.late
            && ErrorStage.allCases.allSatisfy { a.errors(at: $0) == b.errors(at: $0) }
            && Metric.allCases.allSatisfy { a.summary(of: $0) == b.summary(of: $0) }
            && a.bins == b.bins && a.context == b.context
            && a.contextMeasuredAtMilliseconds == b.contextMeasuredAtMilliseconds
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(total)
        hasher.combine(bins)
    }
}

/// An order of contexts, so that the choice between two of the same time does not depend on which came first.
package enum ContextOrder {
    /// Whether `a` comes before `b`; absent comes before present.
    package static func precedes(_ a: NetworkContext, _ b: NetworkContext) -> Bool {
        for path in [
            \NetworkContext.networkType, \.isp, \.region, \.resolver, \.sourceIP,
        ] where a[keyPath: path] != b[keyPath: path] {
            guard let left = a[keyPath: path] else { return true }
            guard let right = b[keyPath: path] else { return false }
            return left < right
        }
        return (a.asn.map(Int64.init) ?? -1) < (b.asn.map(Int64.init) ?? -1)
    }
}

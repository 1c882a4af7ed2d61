package import Sketches
package import Telemetry

/// Everything that is known about one client and one target in one window.
///
/// A cell is all integers, so the order in which events are added cannot change a bit of it, and it is the
/// complete state of its row: writing and reading it back gives the same cell.
package struct Cell: Hashable, Sendable {
    private var body = CellBody()
    /// What the newest event said about its network; among several of the same time the greatest in
    /// ``ContextOrder``.
    package private(set) var context = NetworkContext()
    /// When the event that ``context`` is from was measured, Unix milliseconds; nil before the first event.
    package private(set) var contextMeasuredAtMilliseconds: Int64?

    package init() {}

    init(_ body: CellBody) {
        self.body = body
    }

    package var total: Int64 { body.total }
    package var success: Int64 { body.success }
    package var error: Int64 { body.error }
    /// Events received more than two minutes after the window's end.
    package var late: Int64 { body.late }

    /// Whether no event was counted.
    package var isEmpty: Bool { total == 0 }

    /// How many events failed at `stage`.
    package func errors(at stage: ErrorStage) -> Int64 {
        body.errors(at: stage)
    }

    /// The exact part of `metric`.
    package func summary(of metric: Metric) -> MetricSummary {
        body.metrics.summary(of: metric)
    }

    /// Calls `body` with the sketch of `metric`: what ``sketchMask`` leaves of each element is its stored form.
    package func withSketch(of metric: Metric, _ body: (Span<UInt64>) -> Void) {
        self.body.metrics.withBins(of: metric, body)
    }

    /// The bits of an element of ``withSketch(of:_:)`` that belong to its stored form.
    package static var sketchMask: UInt64 { MetricTable.storedMask }

    /// The stored form of the sketch of `metric`: `bucket << 40 | count`, ascending.
    package func sketchElements(of metric: Metric) -> [UInt64] {
        body.metrics.withBins(of: metric) { sketch in
            sketch.indices.map { sketch[$0] & Self.sketchMask }
        }
    }

    /// The *q*-quantile of `metric` in millionths, or nil when it was not measured: within 1 % of the exact
    /// answer, and never outside of the exact minimum and maximum.
    package func quantile(_ q: Double, of metric: Metric) -> Double? {
        let summary = summary(of: metric)
        guard let minimum = summary.minimum, let maximum = summary.maximum,
            let estimate = body.metrics.withBins(
                of: metric, { QuantileSketch.quantile(q, of: $0) })
        else { return nil }
        return min(max(estimate, Double(minimum.millionths)), Double(maximum.millionths))
    }

    /// Counts one event.
    package mutating func count(errorStage: ErrorStage?, isLate: Bool) {
        body.count(errorStage: errorStage, isLate: isLate)
    }

    /// Adds one value of `metric`.
    package mutating func insert(_ value: MetricValue, of metric: Metric) {
        body.metrics.insert(value, of: metric)
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
        guard let metrics = MetricTable(parts.metrics) else { return nil }
        body.total = parts.total
        body.success = parts.success
        body.error = parts.error
        body.late = parts.late
        body.metrics = metrics
        for (stage, count) in parts.errorsByStage { body.setErrors(count, at: stage) }
        context = parts.context
        contextMeasuredAtMilliseconds = parts.contextMeasuredAtMilliseconds
    }

    /// The cell without its context.
    var contents: CellBody { body }
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

package import CoreMetrics
internal import Synchronization

/// The metrics of a program: makes them, and renders them for Prometheus.
///
/// Making a metric takes a lock; using one never does. Make each metric once and keep it. Names
/// follow `qoe_<program>_<noun>_<unit or total>`; labels must be of a bounded set, such as error
/// codes, never error messages.
package final class PrometheusRegistry: Sendable {
    /// Upper bounds in seconds for timers: half a millisecond, where a local write lies, to half a
    /// minute, where callers have given up.
    package static let defaultTimerBuckets = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
    ]

    /// Upper bounds for recorders of counts and sizes: powers of four.
    package static let defaultRecorderBuckets = (0...12).map { Double(1 << (2 * $0)) }

    /// Series beyond this many are folded into one counter, so that a label that was unbounded
    /// after all cannot eat the memory of the program and of its Prometheus.
    package static let defaultSeriesLimit = 10_000

    /// Counts the uses of series beyond the limit.
    package static let overflowName = "qoe_metrics_overflow_total"

    struct State {
        var families: [String: MetricFamily] = [:]
        var seriesCount = 0
        var collectors: [@Sendable () -> Void] = []
    }

    private let state = Mutex(State())
    private let seriesLimit: Int
    private let overflow = CounterSeries()
    private let overflowSeries: OverflowSeries

    package init(seriesLimit: Int = defaultSeriesLimit) {
        precondition(seriesLimit > 0)
        self.seriesLimit = seriesLimit
        overflowSeries = OverflowSeries(counting: overflow)
        describe(
            Self.overflowName,
            "Uses of metrics that were folded because there were too many series.")
        let key = SeriesKey(dimensions: [])
        state.withLock { state in
            state.families[Self.overflowName]?.kind = .counter
            state.families[Self.overflowName]?.series[key] = .counter(overflow)
        }
    }

    /// Gives a metric its help text, and its buckets if it is a timer or recorder and the default
    /// ones do not fit. Before the metric is made.
    package func describe(_ name: String, _ help: String, buckets: [Double]? = nil) {
        state.withLock { state in
            var family = state.families[name] ?? MetricFamily()
            family.help = help
            if let buckets { family.buckets = buckets }
            state.families[name] = family
        }
    }

    /// Calls `collector` before each rendering, to set metrics that are only worth reading then.
    package func onCollect(_ collector: @escaping @Sendable () -> Void) {
        state.withLock { $0.collectors.append(collector) }
    }

    /// A counter; `name` ends in `_total`.
    package func counter(
        _ name: String, help: String, labels: [(String, String)] = []
    ) -> Counter {
        precondition(name.hasSuffix("_total"), "the counter '\(name)' must end in _total")
        describe(name, help)
        return Counter(label: name, dimensions: labels, factory: self)
    }

    /// A counter for each case of a type, told apart by one label.
    package func counters<Case>(
        _ name: String, help: String, label: String
    ) -> [Case: Counter]
    where Case: CaseIterable & Hashable & RawRepresentable, Case.RawValue == String {
        Dictionary(
            Case.allCases.map { one in
                (one, counter(name, help: help, labels: [(label, one.rawValue)]))
            }, uniquingKeysWith: { first, _ in first })
    }

    /// A value that goes up and down; not shown until it is first set.
    package func gauge(_ name: String, help: String, labels: [(String, String)] = []) -> Meter {
        describe(name, help)
        return Meter(label: name, dimensions: labels, factory: self)
    }

    /// A gauge read at each rendering; nil, for not known, shows nothing.
    package func gauge(
        _ name: String, help: String, labels: [(String, String)] = [],
        reading read: @escaping @Sendable () -> Double?
    ) {
        describe(name, help)
        insert(name, .gauge, labels) { _ in .read(read) }
    }

    /// A counter that is kept elsewhere and read at each rendering; nil shows nothing.
    package func counter(
        _ name: String, help: String, labels: [(String, String)] = [],
        reading read: @escaping @Sendable () -> Double?
    ) {
        precondition(name.hasSuffix("_total"), "the counter '\(name)' must end in _total")
        describe(name, help)
        insert(name, .counter, labels) { _ in .read(read) }
    }

    /// A histogram of durations in seconds; `name` ends in `_seconds`.
    package func timer(
        _ name: String, help: String, labels: [(String, String)] = [], buckets: [Double]? = nil
    ) -> Timer {
        precondition(name.hasSuffix("_seconds"), "the timer '\(name)' must end in _seconds")
        describe(name, help, buckets: buckets)
        return Timer(label: name, dimensions: labels, factory: self)
    }

    /// A histogram of counts or sizes.
    package func histogram(
        _ name: String, help: String, labels: [(String, String)] = [], buckets: [Double]? = nil
    ) -> Recorder {
        describe(name, help, buckets: buckets)
        return Recorder(label: name, dimensions: labels, aggregate: true, factory: self)
    }

    /// All metrics in Prometheus's text format 0.0.4, sorted, so that equal states give equal text.
    package func render() -> String {
        // Outside of the lock: collectors use metrics, and may make some.
        for collector in state.withLock(\.collectors) { collector() }
        let families = state.withLock(\.families)
        var text = ""
        for (name, family) in families.sorted(by: { $0.key < $1.key }) {
            family.render(name: name, to: &text)
        }
        return text
    }

    // MARK: - Series

    /// Finds or makes a series; nil if there are too many.
    @discardableResult
    private func insert(
        _ label: String, _ kind: MetricFamily.Kind, _ dimensions: [(String, String)],
        make: (MetricFamily) -> MetricFamily.Series
    ) -> MetricFamily.Series? {
        let name = PrometheusText.name(label, isCounter: kind == .counter)
        let key = SeriesKey(dimensions: dimensions)
        return state.withLock { state in
            var family = state.families[name] ?? MetricFamily()
            precondition(
                family.kind == nil || family.kind == kind, "metric '\(name)' has two types")
            if let known = family.series[key] { return known }
            guard state.seriesCount < seriesLimit else { return nil }
            let made = make(family)
            family.kind = kind
            family.series[key] = made
            state.families[name] = family
            state.seriesCount += 1
            return made
        }
    }

    private func remove(_ handler: AnyObject) {
        state.withLock { state in
            for (name, family) in state.families {
                guard let key = family.series.first(where: { $0.value.handler === handler })?.key
                else { continue }
                state.families[name]?.series[key] = nil
                state.seriesCount -= 1
            }
        }
    }
}

extension PrometheusRegistry: MetricsFactory {
    package func makeCounter(
        label: String, dimensions: [(String, String)]
    ) -> any CounterHandler {
        let series = insert(label, .counter, dimensions) { _ in .counter(CounterSeries()) }
        guard case .counter(let counter) = series else { return overflowSeries }
        return counter
    }

    package func makeFloatingPointCounter(
        label: String, dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler {
        let series = insert(label, .counter, dimensions) { _ in
            .floatingPointCounter(FloatingPointCounterSeries())
        }
        guard case .floatingPointCounter(let counter) = series else { return overflowSeries }
        return counter
    }

    package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        let series = insert(label, .gauge, dimensions) { _ in .gauge(GaugeSeries()) }
        guard case .gauge(let gauge) = series else { return overflowSeries }
        return gauge
    }

    package func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        if !aggregate {
            let series = insert(label, .gauge, dimensions) { _ in .gauge(GaugeSeries()) }
            guard case .gauge(let gauge) = series else { return overflowSeries }
            return gauge
        }
        let series = insert(label, .histogram, dimensions) { family in
            .histogram(HistogramSeries(bounds: family.buckets ?? Self.defaultRecorderBuckets))
        }
        guard case .histogram(let histogram) = series else { return overflowSeries }
        return histogram
    }

    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        let series = insert(label, .histogram, dimensions) { family in
            .histogram(HistogramSeries(bounds: family.buckets ?? Self.defaultTimerBuckets))
        }
        guard case .histogram(let histogram) = series else { return overflowSeries }
        return histogram
    }

    package func destroyCounter(_ handler: any CounterHandler) { remove(handler) }
    package func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {
        remove(handler)
    }
    package func destroyMeter(_ handler: any MeterHandler) { remove(handler) }
    package func destroyRecorder(_ handler: any RecorderHandler) { remove(handler) }
    package func destroyTimer(_ handler: any TimerHandler) { remove(handler) }
}

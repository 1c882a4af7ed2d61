/// The labels of a series, in the order of their names.
struct SeriesKey: Hashable, Comparable {
    private var names: [String]
    private var values: [String]

    init(dimensions: [(String, String)]) {
        let sorted = dimensions.sorted { $0.0 < $1.0 }
        names = sorted.map(\.0)
        values = sorted.map(\.1)
    }

    /// `name="value",…` without braces.
    var text: String {
        zip(names, values)
            .map { "\(PrometheusText.labelName($0))=\"\(PrometheusText.escapedLabel($1))\"" }
            .joined(separator: ",")
    }

    static func < (first: SeriesKey, second: SeriesKey) -> Bool {
        if first.names != second.names {
            return first.names.lexicographicallyPrecedes(second.names)
        }
        return first.values.lexicographicallyPrecedes(second.values)
    }
}

/// All series of one name.
struct MetricFamily {
    enum Kind: String {
        case counter, gauge, histogram
    }

    enum Series {
        case counter(CounterSeries)
        case floatingPointCounter(FloatingPointCounterSeries)
        case gauge(GaugeSeries)
        case read(@Sendable () -> Double?)
        case histogram(HistogramSeries)

        /// What swift-metrics holds of it.
        var handler: AnyObject? {
            switch self {
            case .counter(let series): series
            case .floatingPointCounter(let series): series
            case .gauge(let series): series
            case .histogram(let series): series
            case .read: nil
            }
        }
    }

    /// Nil while it is only described.
    var kind: Kind?
    var help: String?
    var buckets: [Double]?
    var series: [SeriesKey: Series] = [:]

    func render(name: String, to text: inout String) {
        guard let kind else { return }
        var samples = ""
        for (key, series) in series.sorted(by: { $0.key < $1.key }) {
            Self.render(series, name: name, labels: key.text, to: &samples)
        }
        guard !samples.isEmpty else { return }
        if let help { text += "# HELP \(name) \(PrometheusText.escapedHelp(help))\n" }
        text += "# TYPE \(name) \(kind.rawValue)\n"
        text += samples
    }

    private static func render(
        _ series: Series, name: String, labels: String, to text: inout String
    ) {
        let braced = labels.isEmpty ? "" : "{\(labels)}"
        switch series {
        case .counter(let counter):
            text += "\(name)\(braced) \(counter.value)\n"
        case .floatingPointCounter(let counter):
            text += "\(name)\(braced) \(PrometheusText.number(counter.value))\n"
        case .gauge(let gauge):
            guard let value = gauge.value else { return }
            text += "\(name)\(braced) \(PrometheusText.number(value))\n"
        case .read(let read):
            guard let value = read() else { return }
            text += "\(name)\(braced) \(PrometheusText.number(value))\n"
        case .histogram(let histogram):
            let prefix = labels.isEmpty ? "" : "\(labels),"
            let (counts, sum) = histogram.snapshot
            var cumulative: Int64 = 0
            for (count, bound) in zip(counts, histogram.bounds + [.infinity]) {
                cumulative &+= count
                let limit = PrometheusText.number(bound)
                text += "\(name)_bucket{\(prefix)le=\"\(limit)\"} \(cumulative)\n"
            }
            text += "\(name)_sum\(braced) \(PrometheusText.number(sum))\n"
            text += "\(name)_count\(braced) \(cumulative)\n"
        }
    }
}

internal import Sketches
internal import Telemetry

/// What a cell measured: for each metric sum, extremes and sketch, all in one allocation.
///
/// Most cells measure some of the metrics a handful of times, so what is not measured takes no room, and the
/// room grows by quarters instead of doubling.
struct MetricTable: Hashable, Sendable {
    /// Bit *n* says whether the metric with raw value *n* was measured.
    private(set) var mask: UInt16 = 0
    /// Sum, minimum and maximum of each measured metric in the order of their raw values, then the bins of all
    /// in the form of ``BinTable``, ascending: the key is `metric << 12 | bucket`.
    private var words: [UInt64] = []

    private static let wordsPerSummary = 3
    /// Bits of a bin's key that hold the bucket.
    private static let bucketBits: UInt64 = 12
    /// What ``bins(of:)`` have in a sketch's stored form: bucket and count.
    static let storedMask = UInt64(1) << (bucketBits + BinTable.countBits) - 1
    /// Room for some bins, so that the first values of a cell do not each allocate.
    private static let sparedWordsMin = 8

    /// Nothing measured.
    init() {}

    /// A table from summaries and sketches in their stored form, or nil when a sketch is not canonical or does
    /// not count what its summary does.
    init?(_ metrics: [Metric: (summary: MetricSummary, sketch: [UInt64])]) {
        var bins: [UInt64] = []
        for metric in Metric.allCases {
            guard let (summary, stored) = metrics[metric] else { continue }
            guard let minimum = summary.minimum, let maximum = summary.maximum,
                let sketch = QuantileSketch(elements: stored), sketch.count == summary.count
            else { return nil }
            mask |= 1 << UInt16(metric.rawValue)
            words += [UInt64(summary.sum), minimum.millionths, maximum.millionths]
            let prefix = Self.prefix(of: metric)
            for element in sketch.elements { bins.append(prefix | element) }
        }
        words += bins
    }

    @inline(__always)
    private static func prefix(of metric: Metric) -> UInt64 {
        UInt64(metric.rawValue) << (bucketBits + BinTable.countBits)
    }

    private var summaryWordCount: Int { mask.nonzeroBitCount &* Self.wordsPerSummary }

    /// Where the summary of `metric` is, or would be.
    @inline(__always)
    private func position(of metric: Metric) -> Int {
        let below = mask & (1 << UInt16(metric.rawValue) &- 1)
        return below.nonzeroBitCount &* Self.wordsPerSummary
    }

    func isMeasured(_ metric: Metric) -> Bool { mask & 1 << UInt16(metric.rawValue) != 0 }

    /// The exact part of `metric`.
    func summary(of metric: Metric) -> MetricSummary {
        guard isMeasured(metric) else { return MetricSummary() }
        let start = position(of: metric)
        var count: UInt64 = 0
        for bin in words[bins(of: metric)] { count &+= bin & BinTable.countMax }
        return MetricSummary(
            count: Int64(clamping: count), sum: Int64(clamping: words[start]),
            minimum: MetricValue(millionths: words[start + 1]),
            maximum: MetricValue(millionths: words[start + 2])) ?? MetricSummary()
    }

    /// Calls `body` with the bins of `metric`: what ``storedMask`` leaves of each is the stored form of its sketch.
    func withBins<Result>(of metric: Metric, _ body: (Span<UInt64>) -> Result) -> Result {
        body(words.span.extracting(bins(of: metric)))
    }

    private func bins(of metric: Metric) -> Range<Int> {
        let prefix = Self.prefix(of: metric)
        let start = Self.position(of: prefix, in: words.span, from: summaryWordCount)
        return start..<Self.position(of: prefix | Self.storedMask, in: words.span, from: start)
    }

    /// The position of the first of the ascending bins from `first` on that is not below `bin`.
    @inline(__always)
    private static func position(of bin: UInt64, in words: Span<UInt64>, from first: Int) -> Int {
        var low = first
        var high = words.count
        while low < high {
            let middle = (low &+ high) >> 1
            if words[middle] < bin { low = middle &+ 1 } else { high = middle }
        }
        return low
    }

    /// Adds one value of `metric`.
    @inline(__always)
    mutating func insert(_ value: MetricValue, of metric: Metric) {
        if !isMeasured(metric) { begin(metric, with: value) }
        let millionths = value.millionths
        let start = position(of: metric)
        let bucket = UInt64(truncatingIfNeeded: BucketMapping.shared.bucket(of: millionths))
        let key = Self.prefix(of: metric) | bucket << BinTable.countBits
        let binsStart = summaryWordCount

        var words = words.mutableSpan
        // At most the largest value of a bigint, where it stays.
        let (sum, overflow) = words[start].addingReportingOverflow(millionths)
        words[start] = overflow ? Self.sumMax : min(sum, Self.sumMax)
        if millionths < words[start &+ 1] { words[start &+ 1] = millionths }
        if millionths > words[start &+ 2] { words[start &+ 2] = millionths }
        let position = Self.position(of: key, in: words.span, from: binsStart)
        if position < words.count, words[position] & ~BinTable.countMax == key {
            if words[position] & BinTable.countMax < BinTable.countMax { words[position] &+= 1 }
            return
        }
        insert(key | 1, at: position)
    }

    private static let sumMax = UInt64(Int64.max)

    /// Makes room for the summary of a metric that is measured for the first time.
    private mutating func begin(_ metric: Metric, with value: MetricValue) {
        let start = position(of: metric)
        makeRoom(Self.wordsPerSummary)
        words.insert(contentsOf: [0, value.millionths, value.millionths], at: start)
        mask |= 1 << UInt16(metric.rawValue)
    }

    private mutating func insert(_ bin: UInt64, at position: Int) {
        makeRoom(1)
        words.insert(bin, at: position)
    }

    private mutating func makeRoom(_ count: Int) {
        guard words.count &+ count > words.capacity else { return }
        let spared = max(Self.sparedWordsMin, words.count / 4)
        words.reserveCapacity(words.count &+ count &+ spared)
    }
}

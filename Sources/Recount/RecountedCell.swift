internal import Telemetry

/// What is counted for one client, target and minute.
///
/// A class, so that a dictionary of them is changed in place.
final class RecountedCell {
    private var total: Int64 = 0
    private var errors = InlineArray<5, Int64>(repeating: 0)
    private var late: Int64 = 0
    /// How many values fell into a bucket, by `metric << 16 | bucket`.
    private var bins: [UInt32: UInt64] = [:]
    private var counts = InlineArray<10, Int64>(repeating: 0)
    private var sums = InlineArray<10, UInt128>(repeating: 0)
    private var minima = InlineArray<10, UInt64>(repeating: .max)
    private var maxima = InlineArray<10, UInt64>(repeating: 0)
    private var context: (milliseconds: Int64, content: NetworkContext)?
    /// The earliest log time at which an event without a number was counted, Unix milliseconds.
    var firstUnnumberedMilliseconds = Int64.max

    func count(errorStage: ErrorStage?, isLate: Bool) {
        total += 1
        if let errorStage { errors[Int(errorStage.rawValue) - 1] += 1 }
        if isLate { late += 1 }
    }

    func add(_ value: UInt64, of metric: Metric) {
        let index = Int(metric.rawValue)
        let bucket = BucketBounds.shared.bucket(of: value)
        bins[UInt32(index) << 16 | UInt32(bucket), default: 0] += 1
        counts[index] += 1
        sums[index] += UInt128(value)
        minima[index] = min(minima[index], value)
        maxima[index] = max(maxima[index], value)
    }

    /// The context of the newest event; among several of the same time the greatest.
    func see(_ content: NetworkContext, milliseconds: Int64) {
        if let known = context {
            guard known.milliseconds <= milliseconds else { return }
            if known.milliseconds == milliseconds, known.content == content { return }
            if known.milliseconds == milliseconds, rank(content) <= rank(known.content) { return }
        }
        context = (milliseconds, content)
    }

    /// Texts by their bytes, absent before present; the number of the autonomous system last.
    private func rank(_ context: NetworkContext) -> Rank {
        Rank(
            texts: [
                context.networkType, context.isp, context.region, context.resolver,
                context.sourceIP,
            ], asn: context.asn.map(Int64.init) ?? -1)
    }

    private struct Rank: Comparable {
        let texts: [Name?]
        let asn: Int64

        static func < (a: Rank, b: Rank) -> Bool {
            for (left, right) in zip(a.texts, b.texts) where left != right {
                guard let left else { return true }
                guard let right else { return false }
                return left < right
            }
            return a.asn < b.asn
        }
    }

    func canonical(minute: Int64, client: Name, target: Name) -> CanonicalCell {
        let errors = (0..<self.errors.count).map { self.errors[$0] }
        let failed = errors.reduce(0, +)
        let content = context?.content ?? NetworkContext()
        return CanonicalCell(
            windowStartMilliseconds: minute * 60_000, client: client.text, target: target.text,
            counts: [total, total - failed, failed] + errors + [late],
            metrics: Metric.allCases.map { metric(Int($0.rawValue)) },
            texts: [
                content.networkType, content.isp, content.region, content.sourceIP,
                content.resolver,
            ].map { $0?.text },
            asn: content.asn.map(Int64.init), contextMilliseconds: context?.milliseconds)
    }

    private func metric(_ index: Int) -> CanonicalMetric {
        guard counts[index] > 0 else {
            return CanonicalMetric(count: 0, quantiles: [nil, nil, nil])
        }
        let ascending = bins.filter { Int($0.key >> 16) == index }.map { key, count in
            (bucket: Int(key & 0xFFFF), count: count)
        }.sorted { $0.bucket < $1.bucket }
        return CanonicalMetric(
            count: counts[index], sum: Int64(clamping: sums[index]),
            minimum: Double(minima[index]) / MetricValue.scale,
            maximum: Double(maxima[index]) / MetricValue.scale,
            quantiles: [(1, 2), (95, 100), (99, 100)].map { numerator, denominator in
                quantile(numerator, denominator, ascending, index)
            },
            sketch: ascending.map { Int64($0.bucket) << 40 | Int64(clamping: $0.count) })
    }

    /// The middle of the bucket that holds the value of rank ⌈q·n⌉, but not outside of minimum and maximum.
    private func quantile(
        _ numerator: Int64, _ denominator: Int64, _ ascending: [(bucket: Int, count: UInt64)],
        _ index: Int
    ) -> Double? {
        let rank = (counts[index] * numerator + denominator - 1) / denominator
        var seen: UInt64 = 0
        for (bucket, count) in ascending {
            seen += count
            guard seen >= UInt64(rank) else { continue }
            let middle = BucketBounds.shared.middle(of: bucket)
            return min(max(middle, Double(minima[index])), Double(maxima[index]))
                / MetricValue.scale
        }
        return nil
    }
}

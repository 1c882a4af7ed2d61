package import Telemetry

/// The distribution of one metric: counts by bucket of ``BucketMapping``.
///
/// Merging is commutative and associative to the bit, whatever was seen in which order. The stored form is
/// an array of `bucket << 40 | count`, ascending by bucket.
package struct QuantileSketch: Hashable, Sendable {
    private var table = BinTable()

    /// An empty sketch.
    package init() {}

    /// A sketch from its stored form, or nil when that is not canonical.
    package init?(elements: some Sequence<UInt64>) {
        guard let table = BinTable(elements: elements) else { return nil }
        let bucketCount = UInt64(BucketMapping.shared.bucketCount)
        if let last = table.elements.last, last >> BinTable.countBits >= bucketCount { return nil }
        self.table = table
    }

    /// The stored form.
    package var elements: [UInt64] { table.elements }

    package var isEmpty: Bool { table.isEmpty }

    /// How many values were inserted.
    package var count: UInt64 {
        table.elements.reduce(0) { $0 &+ $1 & BinTable.countMax }
    }

    /// Adds `count` observations of `value`.
    package mutating func insert(_ value: MetricValue, count: UInt64 = 1) {
        let bucket = BucketMapping.shared.bucket(of: value.millionths)
        table.add(key: UInt32(truncatingIfNeeded: bucket), count: count)
    }

    /// Adds every observation of `other`, bin for bin as if this sketch had seen both streams itself.
    package mutating func merge(_ other: QuantileSketch) {
        table.merge(other.table)
    }

    /// The *q*-quantile in millionths, or nil when the sketch is empty or `q` is not from 0 to 1.
    ///
    /// The *q*-quantile of *n* values is the one of rank ⌈q·n⌉ (rank 1 for q = 0), as `percentile_disc` of
    /// PostgreSQL has it. The answer is within 1 % of that value.
    package func quantile(_ q: Double) -> Double? {
        Self.quantile(q, of: table.elements.span)
    }

    /// The *q*-quantile of stored elements; see ``quantile(_:)``. Bits above the bucket's are ignored.
    package static func quantile(_ q: Double, of elements: Span<UInt64>) -> Double? {
        quantiles([q], of: elements)?[0]
    }

    /// The quantiles of stored elements for ascending *q*s, in one pass; nil when there are no elements or a *q*
    /// is not from 0 to 1. Bits above the bucket's are ignored.
    package static func quantiles<let n: Int>(
        _ qs: InlineArray<n, Double>, of elements: Span<UInt64>
    ) -> InlineArray<n, Double>? {
        var count: UInt64 = 0
        for index in elements.indices { count &+= elements[index] & BinTable.countMax }
        guard count > 0 else { return nil }
        var answers = InlineArray<n, Double>(repeating: 0)
        var position = 0
        var seen = elements[0] & BinTable.countMax
        for index in qs.indices {
            guard qs[index] >= 0, qs[index] <= 1 else { return nil }
            let rank = max(1, rank(qs[index], count))
            while seen < rank, position &+ 1 < elements.count {
                position &+= 1
                seen &+= elements[position] & BinTable.countMax
            }
            let bucket = Int(truncatingIfNeeded: elements[position] >> BinTable.countBits & 0xFFF)
            answers[index] = BucketMapping.shared.representative(of: bucket)
        }
        return answers
    }

    /// ⌈q·n⌉ in double precision, exactly as PostgreSQL computes it, at most n.
    private static func rank(_ q: Double, _ count: UInt64) -> UInt64 {
        min(count, UInt64(exactly: (q * Double(count)).rounded(.up)) ?? count)
    }
}

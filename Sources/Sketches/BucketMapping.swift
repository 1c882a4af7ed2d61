/// The logarithmic buckets of a DDSketch (Masson, Rim, Lee: "DDSketch: A Fast and Fully-Mergeable Quantile Sketch
/// with Relative-Error Guarantees", PVLDB 12, 2019) with γ = 51/50, over whole numbers.
///
/// Bucket 0 holds the value 0. Bucket *b* ≥ 1 holds the values above γ^(b−2) and up to γ^(b−1), and
/// stands for the value 2γ^(b−1)/(γ+1), which is within (γ−1)/(γ+1) = 0.990 % of each of them. What is left
/// to 1 % covers the rounding of values to integers.
///
/// The bounds come from integer arithmetic alone, so that a value is in the same bucket on every machine,
/// whatever its floating-point library.
///
/// Safe to share: the tables are written before the one mapping is made and never change or go away. They are
/// bare memory because an array's reference count would be touched for every value of every event.
@safe package struct BucketMapping: @unchecked Sendable {
    /// The one mapping that all sketches use.
    package static let shared = BucketMapping()

    /// The relative accuracy that the buckets guarantee.
    package static let relativeAccuracy = 1.0 / 101.0

    /// How many buckets there are; every one fits into 12 bits.
    package let bucketCount: Int

    /// `upperBounds[b]` is the largest value in bucket `b`.
    private let upperBounds: UnsafePointer<UInt64>
    /// What bucket `b` stands for.
    private let representatives: UnsafePointer<Double>
    /// For each power of two and the six bits after it, the first bucket that can hold such a value.
    private let firstBuckets: UnsafePointer<UInt16>

    private static let fractionBits = 56
    private static let indexBits = 6

    private init() {
        var upperBounds: [UInt64] = [0]
        var representatives: [Double] = [0]
        // γ^i in fixed point; the product with 51 stays below 2^126.
        var power = UInt128(1) << Self.fractionBits
        let one = Double(sign: .plus, exponent: Self.fractionBits, significand: 1)
        while true {
            let whole = power >> Self.fractionBits
            representatives.append(Double(power) / one * (2 * 50) / (50 + 51))
            upperBounds.append(UInt64(clamping: whole))
            if whole > UInt128(UInt64.max) { break }
            power = power * 51 / 50
        }
        bucketCount = upperBounds.count

        var firstBuckets: [UInt16] = []
        var bucket = 0
        for exponent in 0..<64 {
            for step in UInt64(0)..<(1 << Self.indexBits) {
                let start = Self.smallestValue(exponent: exponent, step: step)
                while upperBounds[bucket] < start { bucket += 1 }
                firstBuckets.append(UInt16(bucket))
            }
        }
        unsafe self.upperBounds = Self.table(upperBounds)
        unsafe self.representatives = Self.table(representatives)
        unsafe self.firstBuckets = Self.table(firstBuckets)
    }

    /// A copy that stays for good.
    private static func table<Element: BitwiseCopyable>(
        _ elements: [Element]
    ) -> UnsafePointer<Element> {
        let copy = UnsafeMutablePointer<Element>.allocate(capacity: elements.count)
        for (index, element) in elements.enumerated() {
            unsafe (copy + index).initialize(to: element)
        }
        return unsafe UnsafePointer(copy)
    }

    /// The smallest value whose highest bit is `exponent` and whose next bits are at least `step`.
    private static func smallestValue(exponent: Int, step: UInt64) -> UInt64 {
        let top = UInt64(1) << exponent
        return exponent >= indexBits
            ? top | step << (exponent - indexBits) : top | step >> (indexBits - exponent)
    }

    /// The bucket of `value`.
    ///
    /// - Complexity: O(1): one table look-up and at most a few comparisons.
    @inline(__always)
    package func bucket(of value: UInt64) -> Int {
        guard value > 0 else { return 0 }
        let exponent = 63 &- value.leadingZeroBitCount
        let below = value ^ 1 << exponent
        let step =
            exponent >= Self.indexBits
            ? below >> (exponent &- Self.indexBits) : below << (Self.indexBits &- exponent)
        // In range: exponent and step have as many bits as the table has places, and the last bound is the
        // largest value there is.
        let place = exponent << Self.indexBits | Int(truncatingIfNeeded: step)
        var bucket = Int(unsafe firstBuckets[place])
        while unsafe upperBounds[bucket] < value { bucket &+= 1 }
        return bucket
    }

    /// The value that `bucket` stands for; buckets beyond the last stand for the last.
    package func representative(of bucket: Int) -> Double {
        unsafe representatives[min(max(bucket, 0), bucketCount - 1)]
    }

    /// The largest value of `bucket`, 0 to ``bucketCount`` − 1.
    package func upperBound(of bucket: Int) -> UInt64 {
        unsafe upperBounds[min(max(bucket, 0), bucketCount - 1)]
    }
}

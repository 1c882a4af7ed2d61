/// The buckets of the sketches, from their published definition alone: bucket 0 holds the value 0, bucket *b*
/// the values above 1.02^(b−2) and up to 1.02^(b−1), in millionths, and stands for 2 · 1.02^(b−1) / 2.02.
///
/// 1.02^i = 102^i / 100^i, so its whole part is what is left of 102^i in base 100 without the last *i* digits:
/// no rounding anywhere.
struct BucketBounds: Sendable {
    static let shared = BucketBounds()

    /// `uppers[b]` is the largest value in bucket `b`.
    private let uppers: [UInt64]
    private let middles: [Double]

    /// Above every metric's largest value, 3.6e12 millionths.
    private static let largestValue: UInt64 = 4_000_000_000_000

    private init() {
        var uppers: [UInt64] = [0]
        var middles: [Double] = [0]
        /// 102^i, the lowest digit first.
        var digits: [Int] = [1]
        var power = 0
        while true {
            let whole = digits.dropFirst(power).reversed().reduce(UInt64(0)) {
                $0 * 100 + UInt64($1)
            }
            uppers.append(whole)
            // Ten digits of base 100 are more than a double holds.
            var value = 0.0
            var scale = 1.0
            for digit in digits.dropFirst(max(0, power - 10)).reversed() {
                value = value * 100 + Double(digit)
            }
            for _ in 0..<min(power, 10) { scale *= 100 }
            middles.append(value / scale / 1.01)
            if whole >= Self.largestValue { break }
            var carry = 0
            for position in digits.indices {
                let product = digits[position] * 102 + carry
                digits[position] = product % 100
                carry = product / 100
            }
            while carry > 0 {
                digits.append(carry % 100)
                carry /= 100
            }
            power += 1
        }
        self.uppers = uppers
        self.middles = middles
    }

    var count: Int { uppers.count }

    /// The bucket of a value; readers of blocks have refused what is beyond the last.
    func bucket(of value: UInt64) -> Int {
        var low = 0
        var high = uppers.count - 1
        while low < high {
            let middle = (low + high) / 2
            if uppers[middle] < value { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The value, in millionths, that a bucket stands for.
    func middle(of bucket: Int) -> Double { middles[min(max(bucket, 0), middles.count - 1)] }

    /// The largest value of a bucket.
    func upper(of bucket: Int) -> UInt64 { uppers[min(max(bucket, 0), uppers.count - 1)] }
}

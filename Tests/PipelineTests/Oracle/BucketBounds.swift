/// The buckets of docs/sql.md, by long arithmetic: bucket 0 is the value 0, bucket b from 1 on holds the whole
/// numbers above 1.02^(b-2) and up to 1.02^(b-1).
struct BucketBounds {
    /// The largest whole number of bucket b + 1, for each b.
    private let largest: [UInt64]
    /// 1.02^b.
    private let powers: [Double]

    static let shared = BucketBounds()

    /// Limbs of 32 bits behind the point: what is cut off in each step stays far below one part in 2^400.
    private static let fractionLimbs = 14

    private init() {
        var largest: [UInt64] = []
        var powers: [Double] = []
        // 1.02^b as limbs, the lowest first.
        var power = [UInt64](repeating: 0, count: Self.fractionLimbs + 2)
        power[Self.fractionLimbs] = 1
        while true {
            let whole = power[Self.fractionLimbs + 1] << 32 | power[Self.fractionLimbs]
            largest.append(whole)
            var value = Double(whole)
            var weight = 1.0
            for limb in power[..<Self.fractionLimbs].reversed().prefix(3) {
                weight /= 4_294_967_296
                value += Double(limb) * weight
            }
            powers.append(value)
            // Beyond an hour in nanoseconds and a terabit per second nothing is accepted.
            if whole > 1 << 45 { break }
            var carry: UInt64 = 0
            for index in power.indices {
                let product = power[index] * 51 + carry
                power[index] = product & 0xFFFF_FFFF
                carry = product >> 32
            }
            var remainder = carry
            for index in power.indices.reversed() {
                let dividend = remainder << 32 | power[index]
                power[index] = dividend / 50
                remainder = dividend % 50
            }
        }
        self.largest = largest
        self.powers = powers
    }

    func bucket(of value: Int64) -> Int {
        if value == 0 { return 0 }
        var low = 0
        var high = largest.count - 1
        while low < high {
            let middle = (low + high) / 2
            if largest[middle] < UInt64(value) { low = middle + 1 } else { high = middle }
        }
        return low + 1
    }

    /// What the bucket stands for: 2 · 1.02^(b-1) / 2.02.
    func representative(of bucket: Int) -> Double {
        bucket == 0 ? 0 : 2 * powers[bucket - 1] / 2.02
    }
}

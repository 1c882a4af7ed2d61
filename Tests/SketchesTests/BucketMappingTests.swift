import Sketches
import Testing

/// Made with exact rational arithmetic in another language: bucket = 1 + smallest i with v ≤ ⌊(51/50)^i⌋.
@Test(
    arguments: [
        (0, 0), (1, 1), (2, 37), (3, 57), (10, 118), (49, 198), (50, 199), (100, 234),
        (1_000_000, 699), (15_300_000, 837), (25_700_000, 863), (125_800_000, 943),
        (1_000_000_000, 1048), (3_600_000_000_000, 1462),
    ] as [(UInt64, Int)])
func `a value falls into its published bucket`(value: UInt64, bucket: Int) {
    #expect(BucketMapping.shared.bucket(of: value) == bucket)
}

@Test func `buckets cover every value in order`() {
    let mapping = BucketMapping.shared
    #expect(mapping.bucketCount <= 4096)
    #expect(mapping.bucket(of: .max) == mapping.bucketCount - 1)
    var previous = 0
    var value: UInt64 = 0
    while value < .max / 2 {
        let bucket = mapping.bucket(of: value)
        #expect(bucket >= previous)
        #expect(value <= mapping.upperBound(of: bucket))
        #expect(bucket == 0 || value > mapping.upperBound(of: bucket - 1))
        previous = bucket
        value = value < 10_000 ? value + 1 : value + value / 37
    }
}

@Test func `a representative is within the promised accuracy of its whole bucket`() {
    let mapping = BucketMapping.shared
    for bucket in 1..<mapping.bucketCount {
        let low = mapping.upperBound(of: bucket - 1)
        let high = mapping.upperBound(of: bucket)
        guard high > low else { continue }  // no whole number falls into it
        let middle = mapping.representative(of: bucket)
        for value in [Double(low) + (low < 1 << 50 ? 1 : 0), Double(high)] where value > 0 {
            #expect(abs(middle - value) <= 0.0099011 * value, "bucket \(bucket)")
        }
    }
}

import Sketches
import Telemetry
import TestKit
import Testing

@testable import Recount

@Test func `the definition of the buckets and the aggregator's agree on every bound and middle`() {
    let bounds = BucketBounds.shared
    let mapping = BucketMapping.shared
    let largest = Metric.allCases.map { MetricValue.maximum(of: $0).millionths }.max() ?? 0
    #expect(bounds.upper(of: bounds.count - 1) >= largest)
    for bucket in 0..<bounds.count {
        #expect(bounds.upper(of: bucket) == mapping.upperBound(of: bucket), "bucket \(bucket)")
        let middle = Float(bounds.middle(of: bucket) / MetricValue.scale)
        #expect(
            middle == Float(mapping.representative(of: bucket) / MetricValue.scale),
            "bucket \(bucket)")
        guard bounds.upper(of: bucket) > bounds.upper(of: bucket - 1) || bucket == 0 else {
            continue
        }
        let value = bounds.upper(of: bucket)
        #expect(bounds.bucket(of: value) == mapping.bucket(of: value))
        if bucket < bounds.count - 1 {
            #expect(bounds.bucket(of: value + 1) == mapping.bucket(of: value + 1))
        }
    }
}

@Test func `the first buckets hold what their definition says`() {
    let bounds = BucketBounds.shared
    // 1.02^35 = 1.999…, 1.02^36 = 2.039…, 1.02^56 = 3.031…
    #expect(bounds.bucket(of: 0) == 0)
    #expect(bounds.bucket(of: 1) == 1)
    #expect(bounds.bucket(of: 2) == 37)
    #expect(bounds.bucket(of: 3) == 57)
    #expect(abs(bounds.middle(of: 1) - 1 / 1.01) < 1e-12)
}

import Telemetry
import Testing

@Test func `metrics keep their names and places`() {
    #expect(Metric.allCases.count == Metric.count)
    #expect(
        Metric.allCases.map(\.jsonName) == [
            "dns_ms", "tcp_ms", "tls_ms", "ttfb_ms", "throughput_mbps", "total_ms", "rtt_ms",
            "jitter_ms", "loss_pct", "loaded_rtt_ms",
        ])
    #expect(Metric.allCases.map(\.rawValue) == Array(0..<10))
}

@Test func `a value becomes millionths of its unit`() {
    #expect(MetricValue(15.3, of: .dns)?.millionths == 15_300_000)
    #expect(MetricValue(0.000_001, of: .dns)?.millionths == 1)
    #expect(MetricValue(-0.0, of: .dns)?.millionths == 0)
    #expect(MetricValue(100, of: .loss)?.millionths == 100_000_000)
    #expect(MetricValue(3_600_000, of: .total) == .maximum(of: .total))
}

@Test(arguments: [Double.nan, .infinity, -.infinity, -0.001, 100.000_1])
func `what is not a share of packets is refused`(value: Double) {
    #expect(MetricValue(value, of: .loss) == nil)
}

@Test func `what was not measured is absent, not zero`() {
    var metrics = MetricSet()
    #expect(metrics[.dns] == nil)
    metrics[.dns] = MetricValue(0, of: .dns)
    #expect(metrics[.dns]?.millionths == 0)
    #expect(metrics.mask == 1)
    metrics[.dns] = nil
    #expect(metrics.isEmpty)
    #expect(metrics == MetricSet())
}

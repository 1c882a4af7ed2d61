import CoreMetrics
import OwnedThreads
import ServiceKit
import Testing

@Suite struct PrometheusRegistryTests {
    @Test func `all kinds are rendered in text format 0.0.4`() {
        let registry = PrometheusRegistry()
        registry.counter(
            "qoe_x_events_total", help: "Events \\ by\ncode.", labels: [("code", "a\"b\\c\nd")]
        ).increment(by: 3)
        registry.counter("qoe_x_events_total", help: "Events \\ by\ncode.").increment()
        registry.gauge("qoe_x_depth_count", help: "Depth.", labels: [("b", "2"), ("a", "1")])
            .set(1.5)
        _ = registry.gauge("qoe_x_unset_count", help: "Never set, so not shown.")
        registry.gauge("qoe_x_absent_count", help: "Not known.") { nil }
        registry.gauge("qoe_x_read_bytes", help: "Read when rendered.") { .infinity }
        let timer = registry.timer(
            "qoe_x_wait_seconds", help: "Wait.", labels: [("op", "put")], buckets: [0.1, 1])
        timer.recordNanoseconds(100_000_000)
        timer.recordNanoseconds(400_000_000)
        timer.recordNanoseconds(2_000_000_000)
        registry.histogram("qoe_x_batch_events", help: "Batch.", buckets: [1, 10]).record(10)
        let expected = """
            # HELP qoe_metrics_overflow_total \
            Uses of metrics that were folded because there were too many series.
            # TYPE qoe_metrics_overflow_total counter
            qoe_metrics_overflow_total 0
            # HELP qoe_x_batch_events Batch.
            # TYPE qoe_x_batch_events histogram
            qoe_x_batch_events_bucket{le="1"} 0
            qoe_x_batch_events_bucket{le="10"} 1
            qoe_x_batch_events_bucket{le="+Inf"} 1
            qoe_x_batch_events_sum 10
            qoe_x_batch_events_count 1
            # HELP qoe_x_depth_count Depth.
            # TYPE qoe_x_depth_count gauge
            qoe_x_depth_count{a="1",b="2"} 1.5
            # HELP qoe_x_events_total Events \\\\ by\\ncode.
            # TYPE qoe_x_events_total counter
            qoe_x_events_total 1
            qoe_x_events_total{code="a\\"b\\\\c\\nd"} 3
            # HELP qoe_x_read_bytes Read when rendered.
            # TYPE qoe_x_read_bytes gauge
            qoe_x_read_bytes +Inf
            # HELP qoe_x_wait_seconds Wait.
            # TYPE qoe_x_wait_seconds histogram
            qoe_x_wait_seconds_bucket{op="put",le="0.1"} 1
            qoe_x_wait_seconds_bucket{op="put",le="1"} 2
            qoe_x_wait_seconds_bucket{op="put",le="+Inf"} 3
            qoe_x_wait_seconds_sum{op="put"} 2.5
            qoe_x_wait_seconds_count{op="put"} 3

            """
        #expect(registry.render() == expected)
    }

    @Test func `metrics of other libraries get valid names`() {
        let registry = PrometheusRegistry()
        Counter(label: "9lives.of-cat", dimensions: [("a.b", "c")], factory: registry).increment()
        #expect(registry.render().contains("\n_9lives_of_cat_total{a_b=\"c\"} 1\n"))
    }

    @Test func `the same name and labels are one series`() {
        let registry = PrometheusRegistry()
        registry.counter("a_total", help: "A.", labels: [("x", "1"), ("y", "2")]).increment()
        registry.counter("a_total", help: "A.", labels: [("y", "2"), ("x", "1")]).increment()
        #expect(registry.render().contains("a_total{x=\"1\",y=\"2\"} 2\n"))
    }

    @Test func `series beyond the limit are folded and counted`() {
        let registry = PrometheusRegistry(seriesLimit: 2)
        for name in ["a", "b", "c", "d"] {
            registry.counter("n_total", help: "N.", labels: [("name", name)]).increment(by: 7)
        }
        registry.gauge("g", help: "G.").set(1)
        registry.timer("t_seconds", help: "T.").recordNanoseconds(1)
        let text = registry.render()
        #expect(text.contains("n_total{name=\"a\"} 7\nn_total{name=\"b\"} 7\n"))
        #expect(!text.contains("name=\"c\""))
        #expect(text.contains("qoe_metrics_overflow_total 4\n"))
    }

    @Test func `a destroyed series makes room`() {
        let registry = PrometheusRegistry(seriesLimit: 1)
        registry.gauge("g", help: "G.", labels: [("partition", "1")]).destroy()
        registry.gauge("g", help: "G.", labels: [("partition", "2")]).set(5)
        let text = registry.render()
        #expect(text.contains("g{partition=\"2\"} 5\n"))
        #expect(!text.contains("partition=\"1\""))
    }

    @Test func `no increment is lost between threads`() {
        let registry = PrometheusRegistry()
        let counter = registry.counter("n_total", help: "N.")
        let timer = registry.timer("t_seconds", help: "T.")
        let threads = (0..<4).map { number in
            OwnedThread(name: "adder-\(number)") {
                for _ in 0..<10_000 {
                    counter.increment()
                    timer.recordNanoseconds(500_000_000)
                }
            }
        }
        for thread in threads { thread.join() }
        let text = registry.render()
        #expect(text.contains("n_total 40000\n"))
        #expect(text.contains("t_seconds_count 40000\n"))
        #expect(text.contains("t_seconds_sum 20000\n"))
    }

    @Test func `a value that is no number spoils nothing`() {
        let registry = PrometheusRegistry()
        let sizes = registry.histogram("s", help: "S.", buckets: [1])
        sizes.record(Double.nan)
        sizes.record(0.5)
        #expect(registry.render().contains("s_sum 0.5\ns_count 1\n"))
    }

    @Test func `the process shows what Prometheus expects`() throws {
        let registry = PrometheusRegistry()
        registry.addProcessMetrics(program: "sample")
        let values = Dictionary(
            registry.render().split(separator: "\n").filter { !$0.hasPrefix("#") }.map { line in
                let parts = line.split(separator: " ")
                return (String(parts[0]), Double(parts[1]))
            }, uniquingKeysWith: { first, _ in first })
        let memory = try #require(values["process_resident_memory_bytes"] ?? nil)
        #expect(memory > 1_000_000)
        let start = try #require(values["process_start_time_seconds"] ?? nil)
        #expect(start > 1_600_000_000)
        #expect((values["process_cpu_seconds_total"] ?? nil) != nil)
        #expect((values["process_open_fds"] ?? nil).map { $0 >= 3 } == true)
        #expect(values.keys.contains { $0.hasPrefix("qoe_build_info{program=\"sample\"") })
    }
}

internal import CoreMetrics

/// What became of dead letters.
struct DeadLetterMetrics: Sendable {
    private let forwarded: Counter
    private let failures: Counter
    private let waiting: Gauge

    init(factory: any MetricsFactory) {
        forwarded = Counter(
            label: "qoe_aggregator_dead_letters_forwarded_total", factory: factory)
        failures = Counter(
            label: "qoe_aggregator_dead_letter_forward_failures_total", factory: factory)
        waiting = Gauge(label: "qoe_aggregator_dead_letters_waiting", factory: factory)
    }

    func record(forwarded count: Int, waiting waitingCount: Int) {
        forwarded.increment(by: count)
        waiting.record(waitingCount)
    }

    func countFailure() {
        failures.increment()
    }
}

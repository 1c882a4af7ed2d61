internal import CoreMetrics
internal import Store

/// How rollups and retention are doing.
struct HousekeepingMetrics: Sendable {
    private let factory: any MetricsFactory
    private let failures: Counter
    private let partitionsRemoved: Counter
    private let removalNotPermitted: Gauge

    init(factory: any MetricsFactory) {
        self.factory = factory
        failures = Counter(
            label: "qoe_aggregator_housekeeping_failures_total", factory: factory)
        partitionsRemoved = Counter(
            label: "qoe_aggregator_partitions_removed_total", factory: factory)
        removalNotPermitted = Gauge(
            label: "qoe_aggregator_partition_removal_not_permitted", factory: factory)
    }

    func countFailure() {
        failures.increment()
    }

    func record(_ report: RetentionReport) {
        guard !report.wasBusy else { return }
        partitionsRemoved.increment(by: report.removedPartitions.count)
        removalNotPermitted.record(report.lacksOwnership ? 1 : 0)
        for (table, count) in report.forgottenRows {
            counter("rows_forgotten_total", [("table", table)]).increment(by: count)
        }
    }

    func record(_ outcome: RollupOutcome, of level: Rollup.Level, duration: Duration) {
        let dimensions = [("level", level.rawValue)]
        switch outcome {
        case .busy: return
        case .sourceRemoved:
            counter("rollups_after_retention_total", dimensions).increment()
        case .made(let changedRows):
            counter("rollups_total", dimensions).increment()
            counter("rollup_rows_changed_total", dimensions).increment(by: changedRows)
        }
        let (seconds, attoseconds) = duration.components
        Timer(
            label: "qoe_aggregator_rollup_duration_seconds", dimensions: dimensions,
            factory: factory
        ).recordNanoseconds(seconds &* 1_000_000_000 &+ attoseconds / 1_000_000_000)
    }

    func record(_ backlog: RollupBacklog) {
        gauge("rollups_waiting", [("level", "1h")]).record(backlog.hours)
        gauge("rollups_waiting", [("level", "1d")]).record(backlog.days)
        gauge("rollups_waiting_seconds", []).record(backlog.oldestSeconds ?? 0)
    }

    private func counter(_ name: String, _ dimensions: [(String, String)]) -> Counter {
        Counter(label: "qoe_aggregator_\(name)", dimensions: dimensions, factory: factory)
    }

    private func gauge(_ name: String, _ dimensions: [(String, String)]) -> Gauge {
        Gauge(label: "qoe_aggregator_\(name)", dimensions: dimensions, factory: factory)
    }
}

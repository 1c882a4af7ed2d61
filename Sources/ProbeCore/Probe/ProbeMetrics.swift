package import ServiceKit

/// The probe's metrics, read from its counters at each rendering.
package enum ProbeMetrics {
    /// Adds the metrics of `probe` to `registry`.
    package static func register(_ probe: Probe, in registry: PrometheusRegistry) {
        let counters = probe.counters
        func counter(
            _ name: String, _ help: String, _ labels: [(String, String)] = [],
            _ read: @escaping @Sendable () -> UInt64
        ) {
            registry.counter("qoe_probe_" + name, help: help, labels: labels) { Double(read()) }
        }
        let measurements = "Measurements by what came of them."
        counter("measurements_total", measurements, [("outcome", "success")]) {
            counters.measurementsSucceeded.total
        }
        counter("measurements_total", measurements, [("outcome", "error")]) {
            counters.measurementsFailed.total
        }
        counter("measurements_total", measurements, [("outcome", "not_made")]) {
            counters.measurementsNotMade.total
        }
        let slots = "Slots of the schedule in which a target was not measured."
        counter("slots_skipped_total", slots, [("reason", "missed")]) { counters.slotsMissed.total }
        counter("slots_skipped_total", slots, [("reason", "busy")]) { counters.slotsSkipped.total }
        let events = "Events that left the spool, by how."
        counter("events_total", events, [("fate", "delivered")]) { counters.eventsDelivered.total }
        counter("events_total", events, [("fate", "refused")]) { counters.eventsRefused.total }
        for reason in DropLedger.Reason.allCases where reason != .refused {
            let labels = [("fate", "dropped"), ("reason", reason.rawValue)]
            counter("events_total", events, labels) { probe.spool.status.lost[reason] ?? 0 }
        }
        counter("posts_total", "Posts of events that a server answered.") {
            counters.postsAnswered.total
        }
        counter("post_failures_total", "Posts of events that have to be tried again.") {
            counters.postsFailed.total
        }
        let heartbeats = "Heartbeats by what came of them."
        counter("heartbeats_total", heartbeats, [("outcome", "sent")]) {
            counters.heartbeatsSent.total
        }
        counter("heartbeats_total", heartbeats, [("outcome", "failed")]) {
            counters.heartbeatsFailed.total
        }
        registry.gauge("qoe_probe_spool_events", help: "Events that wait for delivery.") {
            Double(probe.spool.status.depth)
        }
        registry.gauge(
            "qoe_probe_spool_bytes", help: "Bytes of the spool's files, and of events in memory."
        ) { Double(probe.spool.status.bytes) }
        registry.gauge(
            "qoe_probe_spool_memory_events",
            help: "Events that wait in memory alone, as the disk cannot be written."
        ) { Double(probe.spool.status.inMemory) }
        counter("spool_disk_failures_total", "Times at which the disk could not be written.") {
            probe.spool.status.diskFailures
        }
        counter("posted_bytes_total", "Bytes of the bodies of answered posts of events.") {
            counters.bytesPosted.total
        }
        counter("clock_steps_total", "Times at which the wall clock was set.") {
            counters.clockSteps.total
        }
        let exchanges = "Attempts to learn ingest's time, by what came of them."
        for outcome in TimeExchangeOutcome.allCases {
            counter("time_exchanges_total", exchanges, [("outcome", outcome.rawValue)]) {
                counters.exchanges(outcome)
            }
        }
        registry.gauge(
            "qoe_probe_clock_offset_seconds",
            help: "What has to be added to the wall clock for ingest's time; absent if not known."
        ) {
            probe.clock.reading().correction.map { Double($0.offsetNanoseconds) / 1_000_000_000 }
        }
        registry.gauge(
            "qoe_probe_clock_uncertainty_seconds",
            help: "How far off ingest's time may be; absent if that is not known."
        ) {
            probe.clock.reading().correction.map {
                Double($0.uncertaintyNanoseconds) / 1_000_000_000
            }
        }
        registry.gauge("qoe_probe_measurements_in_flight", help: "Measurements under way.") {
            Double(probe.measurementsInFlight)
        }
        registry.gauge(
            "qoe_probe_lookups_open", help: "Lookups that the system has not answered."
        ) { Double(probe.lookupsOpen) }
    }
}

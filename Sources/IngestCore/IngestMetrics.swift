internal import Bus
internal import CoreMetrics
internal import EventParsing
internal import FoundationEssentials
internal import ServiceKit

/// The metrics of `ingest`; all series are made at the start, so that the hot path only counts.
struct IngestMetrics: Sendable {
    private let requests: [[Counter]]
    private let accepted: Counter
    private let heartbeats: Counter
    private let rejected: [Counter]
    private let bodyBytes: Counter
    private let publishDuration: Timer
    private let publishFailures: Counter
    let connectionsRefused: Counter
    let connectionErrors: Counter
    let tokenReloadFailures: Counter

    init(_ registry: PrometheusRegistry) {
        requests = Route.allCases.map { route in
            (2...5).map { hundreds in
                registry.counter(
                    "qoe_ingest_requests_total",
                    help: "Answered requests by route and class of status.",
                    labels: [("route", route.rawValue), ("status", "\(hundreds)xx")])
            }
        }
        accepted = registry.counter(
            "qoe_ingest_events_accepted_total",
            help: "Events that JetStream has acknowledged and whose sender was told so.")
        heartbeats = registry.counter(
            "qoe_ingest_heartbeats_accepted_total",
            help: "Heartbeats that JetStream has acknowledged.")
        rejected = RejectionCode.allCases.map { code in
            registry.counter(
                "qoe_ingest_rejected_total",
                help: "Events, and requests as a whole, that were refused, by code.",
                labels: [("code", code.rawValue)])
        }
        bodyBytes = registry.counter(
            "qoe_ingest_body_bytes_total", help: "Bytes of request bodies received.")
        publishDuration = registry.timer(
            "qoe_ingest_publish_duration_seconds",
            help: "From a request's end to the acknowledgement of all its blocks.")
        publishFailures = registry.counter(
            "qoe_ingest_publish_failures_total",
            help: "Requests that were good and could not be made durable; they got 503.")
        connectionsRefused = registry.counter(
            "qoe_ingest_connections_refused_total",
            help: "Connections closed at once because there were too many.")
        connectionErrors = registry.counter(
            "qoe_ingest_connection_errors_total",
            help: "Connections that ended by an error or a time limit.")
        tokenReloadFailures = registry.counter(
            "qoe_ingest_token_reload_failures_total",
            help: "Times that a bad tokens file was refused and the old tokens kept.")
    }

    /// Adds what is read when it is asked for.
    func publish(
        to registry: PrometheusRegistry, link: BusLink, bounds: IntakeBounds, tokens: TokenStore
    ) {
        registry.gauge(
            "qoe_ingest_inflight_bytes",
            help: "Bytes of bodies that are being received or wait for their acknowledgement."
        ) { Double(bounds.byteCount) }
        registry.gauge("qoe_ingest_connections", help: "Open connections of the API.") {
            Double(bounds.connectionCount)
        }
        registry.gauge("qoe_ingest_nats_connected", help: "Whether NATS is connected, 1 or 0.") {
            link.isConnected ? 1 : 0
        }
        registry.gauge("qoe_ingest_tokens", help: "Tokens in use.") { Double(tokens.count) }
        registry.gauge(
            "qoe_ingest_tokens_loaded_timestamp_seconds",
            help: "When the tokens in use were read, Unix time."
        ) { tokens.loaded.timeIntervalSince1970 }
        registry.gauge(
            "qoe_ingest_publisher_bytes",
            help: "Bytes of blocks that are open, wait or are in flight."
        ) { link.statistics.map { Double($0.byteCount) } }
        registry.counter(
            "qoe_ingest_blocks_sent_total", help: "Blocks and heartbeats handed to NATS."
        ) { link.statistics.map { Double($0.blocksSent) } }
        registry.counter(
            "qoe_ingest_blocks_timed_out_total",
            help: "Blocks that JetStream did not acknowledge in time."
        ) { link.statistics.map { Double($0.blocksTimedOut) } }
        registry.counter(
            "qoe_ingest_blocks_refused_total", help: "Blocks that JetStream refused."
        ) { link.statistics.map { Double($0.blocksRefused) } }
        registry.counter(
            "qoe_ingest_stream_losses_total",
            help: "Times that a stream lost messages it had acknowledged; the log has the range."
        ) { link.statistics.map { Double($0.streamLosses) } }
    }

    func countAnswer(_ route: Route, status: UInt) {
        guard let routeIndex = Route.allCases.firstIndex(of: route) else { return }
        let series = requests[routeIndex]
        let index = Int(status / 100) - 2
        if series.indices.contains(index) { series[index].increment() }
    }

    func countBody(byteCount: Int) {
        bodyBytes.increment(by: byteCount)
    }

    func countRejection(_ code: RejectionCode) {
        guard let index = RejectionCode.allCases.firstIndex(of: code) else { return }
        rejected[index].increment()
    }

    func countDurable(eventCount: Int, after duration: Duration) {
        accepted.increment(by: eventCount)
        publishDuration.recordNanoseconds(duration.inNanoseconds)
    }

    func countDurableHeartbeat(after duration: Duration) {
        heartbeats.increment()
        publishDuration.recordNanoseconds(duration.inNanoseconds)
    }

    func countPublishFailure() {
        publishFailures.increment()
    }
}

extension Duration {
    /// Longer than 292 years is no time a request takes.
    fileprivate var inNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds &* 1_000_000_000 &+ attoseconds / 1_000_000_000
    }
}

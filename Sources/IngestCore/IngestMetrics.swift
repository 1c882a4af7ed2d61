internal import Bus
internal import CoreMetrics
internal import EventParsing
internal import FoundationEssentials
internal import NIOCore
internal import ServiceKit

/// The metrics of `ingest`; all series are made at the start, so that the hot path only counts.
struct IngestMetrics: Sendable {
    private let requests: [[Counter]]
    private let accepted: Counter
    private let heartbeats: Counter
    private let rejected: [RejectionCode: Counter]
    private let bodyBytes: Counter
    private let publishDuration: Timer
    private let publishFailures: Counter
    let connectionsRefused: Counter
    let requestsAbandoned: Counter
    private let closed: [ClosingReason: Counter]
    let tokenReloadFailures: Counter
    let certificateReloadFailures: Counter

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
        rejected = registry.counters(
            "qoe_ingest_rejected_total",
            help: "Events, and requests as a whole, that were refused, by code.", label: "code")
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
            help: "Connections closed at once because there were too many, in all or of an address."
        )
        requestsAbandoned = registry.counter(
            "qoe_ingest_requests_abandoned_total",
            help: "Requests whose client was gone before its answer; they may be stored.")
        closed = registry.counters(
            "qoe_ingest_connections_closed_total",
            help: "Connections that were ended for the client's fault, by reason.",
            label: "reason")
        certificateReloadFailures = registry.counter(
            "qoe_ingest_certificate_reload_failures_total",
            help: "Times that bad certificates were refused and the old ones kept.")
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
        registry.gauge(
            "qoe_ingest_fleet_suppressed", help: "Whether probes are told to measure nothing."
        ) { link.suppression.isActive ? 1 : 0 }
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
        rejected[code]?.increment()
    }

    func countDurable(eventCount: Int, after duration: TimeAmount) {
        accepted.increment(by: eventCount)
        publishDuration.recordNanoseconds(duration.nanoseconds)
    }

    func countDurableHeartbeat(after duration: TimeAmount) {
        heartbeats.increment()
        publishDuration.recordNanoseconds(duration.nanoseconds)
    }

    func countClosed(_ reason: ClosingReason) {
        closed[reason]?.increment()
    }

    func countPublishFailure() {
        publishFailures.increment()
    }
}

/// Why a connection was ended that its client could have kept.
enum ClosingReason: String, CaseIterable {
    /// Nothing came for the idle time.
    case idle
    case slowHead = "slow_head"
    case slowBody = "slow_body"
    /// The client does not read its answers.
    case slowReader = "slow_reader"
    /// What came is not HTTP/1.1.
    case malformed
    /// The handshake failed or took too long, or what came after it is not TLS.
    case tls
    /// The connection broke.
    case failed
}

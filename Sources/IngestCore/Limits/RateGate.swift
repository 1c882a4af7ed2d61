internal import CoreMetrics
internal import ServiceKit

/// The limits of a token or a client.
struct RateLimits: Sendable {
    var events: RateLimit?
    var bytes: RateLimit?
}

/// How much one client has in a request.
struct ClientShare {
    /// Of the client's name.
    let name: UInt64
    var eventCount: Int
}

/// Admits requests at the rates that tokens and clients may have.
///
/// A request is admitted or refused as a whole: whoever gets 429 sends the same again.
final class RateGate: Sendable {
    private let table = RateTable()
    private let clientLimits: RateLimits
    private let refused: [RateRule: Counter]

    init(clientLimits: RateLimits, metrics registry: PrometheusRegistry) {
        self.clientLimits = clientLimits
        refused = registry.counters(
            "qoe_ingest_rate_limited_total",
            help: "Requests that got 429, by the limit that they met.", label: "limit")
        registry.gauge(
            "qoe_ingest_rate_buckets", help: "Tokens and clients whose rates are followed."
        ) { [table] in Double(table.bucketCount) }
    }

    /// Whether a caller may send anything now: asked before the body is read.
    func excess(_ caller: Caller, at now: Int64) -> RateExcess? {
        let excess =
            excess(.tokenEvents, caller.rateKey, caller.limits.events, now)
            ?? excess(.tokenBytes, caller.rateKey, caller.limits.bytes, now)
        return count(excess)
    }

    /// Charges a request, or says why it has to wait and charges nothing.
    ///
    /// - Parameter byteCount: What was sent, divided among the clients by their events.
    func charge(
        _ caller: Caller, _ clients: [ClientShare], byteCount: Int, at now: Int64
    ) -> RateExcess? {
        if clientLimits.events != nil || clientLimits.bytes != nil {
            for client in clients {
                let excess =
                    excess(.clientEvents, client.name, clientLimits.events, now)
                    ?? excess(.clientBytes, client.name, clientLimits.bytes, now)
                if let excess = count(excess) { return excess }
            }
        }
        let eventCount = clients.reduce(0) { $0 + $1.eventCount }
        take(eventCount, .tokenEvents, caller.rateKey, caller.limits.events, now)
        take(byteCount, .tokenBytes, caller.rateKey, caller.limits.bytes, now)
        guard eventCount > 0 else { return nil }
        for client in clients {
            let share = byteCount / eventCount * client.eventCount
            take(client.eventCount, .clientEvents, client.name, clientLimits.events, now)
            take(share, .clientBytes, client.name, clientLimits.bytes, now)
        }
        return nil
    }

    private func count(_ excess: RateExcess?) -> RateExcess? {
        if let excess { refused[excess.rule]?.increment() }
        return excess
    }

    private func excess(
        _ rule: RateRule, _ name: UInt64, _ limit: RateLimit?, _ now: Int64
    ) -> RateExcess? {
        limit.flatMap { table.excess(.init(rule: rule, name: name), $0, at: now) }
    }

    private func take(
        _ count: Int, _ rule: RateRule, _ name: UInt64, _ limit: RateLimit?, _ now: Int64
    ) {
        guard let limit else { return }
        table.take(count, from: .init(rule: rule, name: name), limit, at: now)
    }
}

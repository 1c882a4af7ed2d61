internal import Telemetry

/// Fixed rules from one minute's numbers to a label; no history, no peers.
///
/// 1. When at least half of the events failed, the stage at which most of them failed decides.
/// 2. Otherwise the time of a request is divided into name resolution, handshakes (TCP and TLS), server (time to
///    first byte less one round trip, which the TCP handshake measures) and transfer (what is left of the
///    total). The phase that takes at least ``dominantShare`` of it decides, if its median reaches its floor.
/// 3. Otherwise a median throughput below ``throughputFloorMbps`` is `throughput-bound`.
/// 4. Otherwise the minute is `healthy`, if anything was measured.
///
/// Medians, because of six to twelve samples a minute the 95th percentile is the maximum. Each floor is what a healthy
/// path may take: a rule on shares alone would call a fast connection ill.
package enum MinuteRules {
    /// The share of the request's time that makes a phase the cause, 0 to 1.
    package static let dominantShare = 0.5
    /// The share of failed events from which on the failures decide, 0 to 1.
    package static let failureShare = 0.5
    /// A resolver answers below this from nearly everywhere, ms.
    package static let dnsFloorMilliseconds = 100.0
    /// Three round trips of 100 ms: a far but healthy path with TLS 1.2.
    package static let handshakeFloorMilliseconds = 300.0
    package static let serverFloorMilliseconds = 200.0
    package static let transferFloorMilliseconds = 500.0
    /// Standard-definition video needs about this much, Mbit/s.
    package static let throughputFloorMbps = 3.0

    /// The label of a minute, or nil when nothing was measured and nothing failed.
    package static func label(of minute: MinuteSummary) -> MinuteLabel? {
        guard minute.total > 0 else { return nil }
        if Double(minute.errors) >= failureShare * Double(minute.total),
            let label = labelOfFailures(minute.errorsByStage)
        {
            return label
        }
        let medians = minute.medians
        guard !medians.isEmpty else { return nil }
        if let label = labelOfPhases(medians) { return label }
        if let throughput = medians[.throughput], throughput < throughputFloorMbps {
            return .throughputBound
        }
        return .healthy
    }

    /// The stage with most failures; of several the earliest, since a later one was not reached.
    private static func labelOfFailures(_ errors: [ErrorStage: Int64]) -> MinuteLabel? {
        var worst: (stage: ErrorStage, count: Int64)?
        for stage in ErrorStage.allCases {
            let count = errors[stage] ?? 0
            if count > worst?.count ?? 0 { worst = (stage, count) }
        }
        switch worst?.stage {
        case nil: return nil
        case .dns: return .dnsBound
        case .tcp, .tls: return .handshakeBound
        case .http: return .serverBound
        case .throughput: return .throughputBound
        }
    }

    private static func labelOfPhases(_ medians: [Metric: Double]) -> MinuteLabel? {
        let dns = medians[.dns] ?? 0
        let handshake = (medians[.tcp] ?? 0) + (medians[.tls] ?? 0)
        let firstByte = medians[.ttfb] ?? 0
        let server = max(0, firstByte - (medians[.tcp] ?? 0))
        let untilFirstByte = dns + handshake + firstByte
        let transfer = max(0, (medians[.total] ?? 0) - untilFirstByte)
        let whole = untilFirstByte + transfer
        let phases: [(time: Double, floor: Double, label: MinuteLabel)] = [
            (dns, dnsFloorMilliseconds, .dnsBound),
            (handshake, handshakeFloorMilliseconds, .handshakeBound),
            (server, serverFloorMilliseconds, .serverBound),
            (transfer, transferFloorMilliseconds, .throughputBound),
        ]
        return phases.first { $0.time >= $0.floor && $0.time >= dominantShare * whole }?.label
    }
}

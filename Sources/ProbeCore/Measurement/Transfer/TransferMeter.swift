internal import Telemetry
package import Transport

/// Measures the rate of downloads and uploads: HTTP/1.1 bodies over several connections at once.
///
/// `throughput_mbps` is the goodput, the bytes of bodies without framing and TLS, after the ramp
/// (``RateSeries``): of a download as read by this process, of an upload as acknowledged by the
/// receiver's TCP, because what is merely written lies in buffers. `dns_ms`, `tcp_ms`, `tls_ms` and `rtt_ms`
/// are those of the first connection, before the load.
///
/// The rate is absent, with the reason as a detail, when there is too little to tell it from. Failures: `dns`,
/// `tcp` or `tls` of the first connection; `http` for an answer that is no success or none at all; `throughput` when
/// a transfer that had begun broke off or stood still.
package struct TransferMeter: Sendable {
    private let dialer: TransferDialer
    private let userAgent: String

    package init(dialer: Dialer, userAgent: String) {
        self.dialer = TransferDialer(dialer: dialer)
        self.userAgent = userAgent
    }

    /// Measures `target` once; returns within the patience whatever the network does.
    package func measure(_ target: TransferTarget, _ patience: Patience) -> MeasurementOutcome {
        var measurement = Measurement(startedAt: .now())
        var dialled = TransferDialer.Dialled()
        let failure: TransportError?
        do throws(TransportError) {
            try dialer.dial(target.url, target.family, target.budget, patience, &dialled)
            failure = nil
        } catch {
            failure = error
        }
        measurement.record(dialled.progress)
        if let failure {
            return measurement.failed(by: .transport(failure), in: dialled.progress.stage)
        }
        if let first = dialled.connections.first { measurement.record(first) }
        if dialled.failed > 0 { measurement.note("connections_failed", dialled.failed) }
        var load = TransferLoad(
            target.direction, target.budget, dialled.connections, to: target.url,
            userAgent: userAgent)
        do throws(TransportError) {
            let result = try load.run(patience)
            return measurement.outcome(of: result, target.direction)
        } catch {
            return .notMeasured(reason: error.message)
        }
    }
}

extension Measurement {
    /// The measurement with what a transfer found, failed if that did.
    func outcome(
        of result: TransferLoad.Result, _ direction: TransferTarget.Direction
    ) -> MeasurementOutcome {
        var measurement = self
        measurement.record(result, direction)
        if let failure = result.failure {
            return measurement.failed(by: failure.cause, in: failure.stage)
        }
        if measurement.failure == nil, let stall = result.stall {
            measurement.failure = stall
        }
        return .measured(measurement)
    }

    /// Records a transfer's rate, unless it failed, and what else it found.
    mutating func record(
        _ result: TransferLoad.Result, _ direction: TransferTarget.Direction
    ) {
        let series = result.series
        bodyBytes = series.bytes
        note("direction", direction.rawValue)
        note("connections", result.connections)
        note("bytes", series.bytes)
        note("duration_ms", series.duration.inMilliseconds)
        note("requests_answered", result.answers)
        note("overall_mbps", series.overallMegabitsPerSecond)
        if result.failure == nil, result.stall == nil {
            if let reason = result.absence(direction) {
                note("throughput_absent", reason)
            } else if let steady = series.steady {
                metrics[.throughput] = MetricValue(steady.megabitsPerSecond, of: .throughput)
                note("ramp_ms", steady.ramp.inMilliseconds)
                note("has_settled", steady.hasSettled)
            }
        }
        note("retransmitted_pct", result.retransmittedPercent)
        note("packets_out_of_order", result.packetsOutOfOrder)
        note("rtt_min_ms", result.minimumRoundTrip?.inMilliseconds)
    }
}

extension TransferLoad.Result {
    /// The failure of a transfer that ended without one, and without bytes where there had to be some.
    var stall: Measurement.Failure? {
        // Without time for some intervals, nobody could expect any.
        guard failure == nil, end == .time, answers == 0, series.steady != nil else { return nil }
        let seconds = decimal(series.duration.inSeconds)
        if series.bytes == 0 {
            return .init(stage: .http, message: "no byte of a body arrived within \(seconds) s")
        }
        guard series.hasStoodStill else { return nil }
        return .init(
            stage: .throughput,
            message: "no byte of a body arrived in the second half of \(seconds) s")
    }

    /// Why the transfer has no rate; nil when it has one.
    func absence(_ direction: TransferTarget.Direction) -> String? {
        if direction == .upload, end == .connection {
            return "the server answered before the upload's end"
        }
        if direction == .download, answers > 0,
            series.bytes / answers < HTTPMeter.throughputBytesMin
        {
            return "the object is smaller than \(HTTPMeter.throughputBytesMin) bytes, so the rate"
                + " would be that of requests"
        }
        guard let steady = series.steady else {
            return switch end {
            case .time: "the timeout left too little time for a transfer"
            case .bytes: "the bytes were used up before a rate could be told; raise max-bytes"
            case .connection: "the server closed a connection before a rate could be told"
            }
        }
        let isMuch = series.bytes >= HTTPMeter.throughputBytesMin
        guard steady.bytes > 0, isMuch || series.duration >= Self.slowDuration else {
            return "too few bytes in too short a time"
        }
        return nil
    }

    /// After which also few bytes tell a rate: that of a slow path.
    private static let slowDuration = Duration.seconds(1)
}

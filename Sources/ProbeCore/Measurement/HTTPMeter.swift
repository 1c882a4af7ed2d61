internal import Telemetry
package import Transport

/// Measures HTTP and HTTPS targets: one GET on a fresh connection, each stage timed by itself.
///
/// The stages, with the names `curl -w` gives to the same moments:
/// - `dns_ms`: the system's lookup (`time_namelookup`). Absent when the host is an IP address.
/// - `tcp_ms`: the TCP handshake that succeeded (`time_connect` − `time_namelookup`).
/// - `tls_ms`: the TLS handshake (`time_appconnect` − `time_connect`).
/// - `ttfb_ms`: from the request fully written to the answer's first byte
///   (`time_starttransfer` − `time_pretransfer`).
/// - `total_ms`: the lookup's time and that from connecting to the body's last byte (`time_total`). Only
///   measured when the whole answer arrived. The moment in between, in which the lookup's thread hands
///   its answer over, is this machine's own and not counted.
/// - `rtt_ms`: the kernel's round-trip time of the TCP handshake (`TCP_INFO`), free of the
///   time this process waited for a CPU. One sample has no variation, so `jitter_ms` is absent.
/// - `throughput_mbps`: the body's bits over the time from the answer's first byte to the body's last. Absent
///   for bodies below ``throughputBytesMin``.
///
/// The failing stage is `dns`, `tcp` or `tls` as they are; `http` when no proper answer came or it is not as the
/// target expects (its times are kept; without expectations, a status of 400 or higher); `throughput` when
/// the answer began well and its body then broke off or stayed out. A certificate that is valid for too
/// short fails in `tls`, with the times of all stages kept. Redirects are not followed: a redirect is the measured answer. Proxies
/// are not used, as it is the network between this machine and the target that is measured.
package struct HTTPMeter: Sendable {
    /// The smallest body whose transfer rate means something, bytes.
    ///
    /// A server may send its first ten segments, about 14 KiB, at once (RFC 6928), and doubles that every
    /// round trip. 256 KiB takes at least four more round trips, so the rate is no longer that of a burst.
    package static let throughputBytesMin = 256 * 1024
    private static let readBytes = 64 * 1024

    private let dialer: Dialer
    private let bodyBytesMax: Int
    private let userAgent: String

    /// A meter.
    ///
    /// - Parameters:
    ///   - bodyBytesMax: The byte budget of a measurement: reading ends there, and the total time is then
    ///     absent.
    package init(dialer: Dialer, bodyBytesMax: Int, userAgent: String) {
        self.dialer = dialer
        self.bodyBytesMax = bodyBytesMax
        self.userAgent = userAgent
    }

    /// Measures `target` once; returns within the patience whatever the network does.
    package func measure(_ target: HTTPTarget, _ patience: Patience) -> MeasurementOutcome {
        var measurement = Measurement(startedAt: .now())
        var progress = Dialer.Progress()
        let dialled = Result { () throws(TransportError) in
            try dialer.dial(target.url, family: target.family, patience, &progress)
        }
        measurement.record(progress)
        switch dialled {
        case .success(let connection):
            measurement.record(connection)
            return exchange(target, over: connection, progress, patience, measurement)
        case .failure(let error):
            return measurement.failed(by: .transport(error), in: progress.stage)
        }
    }

    private func exchange(
        _ target: HTTPTarget, over connection: Connection, _ progress: Dialer.Progress,
        _ patience: Patience, _ begun: Measurement
    ) -> MeasurementOutcome {
        var measurement = begun
        let expectation = target.expectation
        var transfer = Transfer(
            reader: HTTPResponseReader(searches: expectation.searches))
        let failure = run(request(target.url), over: connection, patience, &transfer)
        let reader = transfer.reader
        measurement.status = reader.head?.status
        if let firstByte = transfer.firstByte {
            measurement.bodyBytes = reader.bodyBytes
            measurement.record(firstByte.since(transfer.requestWritten), as: .ttfb)
            measurement.note("header_bytes", reader.headBytes)
            measurement.note("body_bytes", reader.bodyBytes)
        }
        if let head = reader.head {
            measurement.note("http_version", "1.\(head.minorVersion)")
            measurement.note("http_status", head.status)
        }
        if let failure {
            let hasBegunWell = measurement.status.map { expectation.accepts(status: $0) } ?? false
            let isTransfer =
                switch failure {
                case .transport: true
                case .violation(let violation): violation.code == .truncated
                }
            return measurement.failed(
                by: failure, in: hasBegunWell && isTransfer ? .throughput : .http)
        }
        measurement.stoppedAtBudget = !reader.isComplete
        if measurement.stoppedAtBudget {
            measurement.note("stopped_at_budget", true)
        } else {
            let sinceConnecting = progress.connectingSince.map { transfer.lastByte.since($0) }
            measurement.record(
                sinceConnecting.map { $0 + (progress.dns ?? .zero) }, as: .total)
        }
        measurement.metrics[.throughput] = transfer.throughput
        let certificate = progress.handshake?.certificate
        if let violation = certificate.flatMap({
            expectation.violation(by: $0, at: measurement.startedAt)
        }) {
            measurement.failure = .init(stage: .tls, message: violation)
        } else if let violation = expectation.violation(by: reader) {
            measurement.failure = .init(stage: .http, message: violation)
        }
        return .measured(measurement)
    }

    private func request(_ url: HTTPURL) -> [UInt8] {
        let head =
            "GET \(url.requestTarget) HTTP/1.1\r\nHost: \(url.authority)\r\n"
            + "User-Agent: \(userAgent)\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
            + "Connection: close\r\n\r\n"
        return Array(head.utf8)
    }

    /// The moments of one request and its answer.
    private struct Transfer {
        var reader: HTTPResponseReader
        var requestWritten = MonotonicInstant(nanoseconds: 0)
        var firstByte: MonotonicInstant?
        var lastByte = MonotonicInstant(nanoseconds: 0)

        /// The rate of the body's arrival; nil when too little came, or all of it at once.
        var throughput: MetricValue? {
            guard reader.bodyBytes >= HTTPMeter.throughputBytesMin, let firstByte else {
                return nil
            }
            let seconds = lastByte.since(firstByte).inSeconds
            guard seconds > 0 else { return nil }
            return MetricValue(
                Double(reader.bodyBytes) * 8 / seconds / 1_000_000, of: .throughput)
        }
    }

    /// Sends the request and reads the answer to its end or to the budget; gives what went wrong.
    private func run(
        _ request: [UInt8], over connection: Connection, _ patience: Patience,
        _ transfer: inout Transfer
    ) -> HTTPFailure? {
        var buffer = [UInt8](repeating: 0, count: Self.readBytes)
        do {
            try connection.write(request.span, patience)
            transfer.requestWritten = .now()
            while !transfer.reader.isComplete, transfer.reader.bodyBytes < bodyBytesMax {
                let count = try connection.read(into: &buffer, patience)
                let arrived = MonotonicInstant.now()
                if count == 0 {
                    try transfer.reader.finish()
                    break
                }
                if transfer.firstByte == nil { transfer.firstByte = arrived }
                transfer.lastByte = arrived
                try transfer.reader.consume(buffer.span.extracting(0..<count))
            }
            return nil
        } catch let error as TransportError {
            return .transport(error)
        } catch let error as HTTPViolation {
            return .violation(error)
        } catch {
            preconditionFailure("only transport errors and violations are thrown above: \(error)")
        }
    }
}

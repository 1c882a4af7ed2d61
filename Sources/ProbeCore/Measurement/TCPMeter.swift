internal import Telemetry
package import Transport

/// Measures whether and how fast a port accepts connections: one handshake, closed at once.
///
/// `dns_ms` and `tcp_ms` as ``HTTPMeter``'s; `rtt_ms` is the kernel's round-trip time of the handshake (`TCP_INFO`).
package struct TCPMeter: Sendable {
    private let dialer: Dialer

    package init(dialer: Dialer) {
        self.dialer = dialer
    }

    /// Measures `target` once; returns within the patience whatever the network does.
    package func measure(_ target: TCPTarget, _ patience: Patience) -> MeasurementOutcome {
        var measurement = Measurement(startedAt: .now())
        var progress = Dialer.Progress()
        let dialled = Result { () throws(TransportError) in
            try dialer.connect(
                to: target.host, port: target.port, target.family, patience, &progress)
        }
        measurement.record(progress.dns, as: .dns)
        measurement.record(progress.tcp, as: .tcp)
        measurement.record(progress.roundTrip, as: .rtt)
        measurement.remoteAddress = progress.remoteAddress?.host
        if let found = progress.addressesFound {
            measurement.details.append(MeasurementDetail("addresses", .integer(found)))
        }
        measurement.details.append(
            MeasurementDetail("addresses_tried", .integer(progress.addressesTried)))
        switch dialled {
        case .success(let connection):
            measurement.sourceAddress = connection.localAddress?.host
            return .measured(measurement)
        case .failure(let error):
            return measurement.failed(error, in: progress.stage)
        }
    }
}

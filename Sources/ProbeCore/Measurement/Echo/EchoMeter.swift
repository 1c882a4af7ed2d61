internal import Telemetry
package import Transport

/// Measures hosts that echo, by ICMP or UDP: a train of packets to the first address of the host.
///
/// `rtt_ms` is the median round trip, `jitter_ms` the mean absolute difference of the round trips of neighbouring
/// packets, `loss_pct` the share that had no answer within ``EchoTrain/patience`` of its own. `dns_ms` is the lookup
/// of a name. A train without any answer fails in the stage `tcp`, which says that the target cannot be reached; its
/// `loss_pct` is 100. See docs/measurements.md.
package struct EchoMeter: Sendable {
    private let dialer: Dialer

    package init(dialer: Dialer) {
        self.dialer = dialer
    }

    /// Measures `target` once.
    ///
    /// - Parameter lookup: For the lookup of the name. The train has its own length: its gaps and its patience.
    package func measure(_ target: EchoTarget, lookup: Patience) -> MeasurementOutcome {
        var measurement = Measurement(startedAt: .now())
        let address: SocketAddress
        var progress = Dialer.Progress()
        let port: UInt16
        switch target.carrier {
        case .udp(let known): port = known
        case .icmp: port = 0
        }
        do throws(TransportError) {
            let addresses = try dialer.addresses(
                of: target.host.host, port: port, target.family, lookup, &progress)
            guard let first = addresses.first else {
                return .notMeasured(reason: "\(target.host.host) has no address")
            }
            address = first
        } catch {
            return measurement.failed(error, in: .dns)
        }
        measurement.record(progress.dns, as: .dns)
        measurement.remoteAddress = address.host
        do throws(TransportError) {
            switch target.carrier {
            case .udp:
                let socket = try DatagramSocket.udp(address.family)
                socket.traffic = dialer.traffic
                try measurement.runUDPEcho(
                    target.train, to: address, over: socket, lookup.interrupt)
            case .icmp:
                guard let socket = try EchoPermission.openSocket(address.family) else {
                    return .notMeasured(reason: EchoPermission.remedy)
                }
                socket.traffic = dialer.traffic
                try measurement.runICMPEcho(
                    target.train, to: address, over: socket, lookup.interrupt)
            }
        } catch {
            return measurement.failed(error, in: .tcp)
        }
        return .measured(measurement)
    }
}

extension Measurement {
    /// Runs a train of UDP echo and records it.
    ///
    /// - Throws: ``TransportError``: ``TransportError/Code/unreachable`` when this machine has no way to the host.
    mutating func runUDPEcho(
        _ train: EchoTrain, to address: SocketAddress, over socket: DatagramSocket,
        _ interrupt: Interrupt?
    ) throws(TransportError) {
        var generator = SystemRandomNumberGenerator()
        try socket.connect(to: address)
        sourceAddress = socket.localAddress?.host
        var run = EchoRun(train)
        try run.run(
            over: UDPEchoCarrier(
                socket: socket,
                payload: EchoPayload(size: train.payloadBytes, using: &generator)),
            gaps: train.gaps(using: &generator), interrupt)
        record(run)
    }

    /// Runs a train of ICMP echo and records it; gives how many packets were answered.
    ///
    /// - Parameter acceptsRefusals: Whether the host's own refusal is an answer too.
    /// - Throws: ``TransportError``: ``TransportError/Code/unreachable`` when this machine has no way to the host.
    @discardableResult
    mutating func runICMPEcho(
        _ train: EchoTrain, to address: SocketAddress, over socket: DatagramSocket,
        acceptsRefusals: Bool = false, _ interrupt: Interrupt?
    ) throws(TransportError) -> Int {
        var generator = SystemRandomNumberGenerator()
        try socket.connect(to: address)
        sourceAddress = socket.localAddress?.host
        let carrier = ICMPEchoCarrier(
            socket, host: address,
            payload: EchoPayload(size: train.payloadBytes, using: &generator),
            acceptsRefusals: acceptsRefusals, using: &generator)
        var run = EchoRun(train)
        try run.run(over: carrier, gaps: train.gaps(using: &generator), interrupt)
        details.append(MeasurementDetail("icmp_socket", .text(socket.kind.rawValue)))
        record(run)
        return run.ledger.summary.received
    }

    /// A failed measurement, unless the failure is this machine's own and says nothing of the target.
    func failed(_ error: TransportError, in stage: ErrorStage) -> MeasurementOutcome {
        switch error.code {
        case .interrupted, .system, .invalidConfiguration:
            return .notMeasured(reason: error.message)
        default:
            var failed = self
            failed.failure = .init(stage: stage, message: error.message)
            return .measured(failed)
        }
    }
}

internal import Synchronization
internal import Telemetry
package import Transport

/// Measures the way to the default gateway: what is this side's own network, and what is behind it.
///
/// By a train of ICMP echo requests, which a gateway may also refuse, as that says that it is there; where these are not permitted, or the gateway has never answered one, by packets
/// of one hop, whose expiry the gateway reports. The latter has no `loss_pct`: gateways limit how many reports they send.
package final class FirstHopMeter: Sendable {
    private enum Method: String {
        case echo = "icmp-echo"
        case hopLimit = "udp-hop-limit"
    }

    private struct Known {
        let gateway: String
        let method: Method
        /// Trains without an answer since the last with one.
        var silences = 0
    }

    /// By what the present gateway answered; forgotten with the gateway.
    private let known = Mutex<Known?>(nil)

    /// After so many silent trains both methods are tried again: another network's gateway may have the same address.
    private static let silencesMax = 3

    package init() {}

    /// Measures once; a train that is not answered may be followed by one of the other kind.
    ///
    /// - Parameter traffic: Gets what the packets cost.
    package func measure(
        _ target: FirstHopTarget, _ interrupt: Interrupt?, countingIn traffic: TrafficCounter? = nil
    ) -> MeasurementOutcome {
        var begun = Measurement(startedAt: .now())
        let route: DefaultRoute
        do throws(FileProblem) {
            guard let found = try DefaultRoute.current() else {
                begun.failure = .init(
                    stage: .tcp,
                    message: "no default route: the uplink is down or was never set up")
                return .measured(begun)
            }
            route = found
        } catch {
            return .notMeasured(reason: error.description)
        }
        begun.details.append(MeasurementDetail("interface", .text(route.interface)))
        guard let gateway = route.gateway else {
            return byHopLimit(begun, target, route, interrupt, traffic)
        }
        begun.remoteAddress = gateway.host
        begun.details.append(MeasurementDetail("gateway", .text(gateway.host)))
        let method = known.withLock { $0?.gateway == gateway.host ? $0?.method : nil }
        if method == .hopLimit {
            let outcome = byHopLimit(begun, target, route, interrupt, traffic)
            note(gateway, .hopLimit, isAnswered: outcome.isAnswered)
            return outcome
        }

        let byEcho: MeasurementOutcome
        do throws(TransportError) {
            guard let socket = try EchoPermission.openSocket(route.family) else {
                return byHopLimit(begun, target, route, interrupt, traffic)
            }
            socket.traffic = traffic
            var measurement = begun
            measurement.details.append(Self.detail(.echo))
            let received = try measurement.runICMPEcho(
                target.train, to: gateway, over: socket, acceptsRefusals: true, interrupt)
            note(gateway, .echo, isAnswered: received > 0)
            byEcho = .measured(measurement)
            if received > 0 || method == .echo { return byEcho }
        } catch {
            return begun.failed(error, in: .tcp)
        }
        // Silent so far: down, or one of those that do not answer echo requests.
        let byHopLimit = byHopLimit(begun, target, route, interrupt, traffic)
        if byHopLimit.isAnswered {
            note(gateway, .hopLimit, isAnswered: true)
            return byHopLimit
        }
        return interrupt?.isTriggered == true ? byHopLimit : byEcho
    }

    private func byHopLimit(
        _ begun: Measurement, _ target: FirstHopTarget, _ route: DefaultRoute,
        _ interrupt: Interrupt?, _ traffic: TrafficCounter?
    ) -> MeasurementOutcome {
        var measurement = begun
        measurement.details.append(Self.detail(.hopLimit))
        do throws(TransportError) {
            try measurement.runHopLimit(target, route, interrupt, traffic)
        } catch {
            return measurement.failed(error, in: .tcp)
        }
        return .measured(measurement)
    }

    private func note(_ gateway: SocketAddress, _ method: Method, isAnswered: Bool) {
        known.withLock { known in
            if isAnswered {
                known = Known(gateway: gateway.host, method: method)
            } else if known?.gateway == gateway.host {
                known?.silences += 1
                if known?.silences == Self.silencesMax { known = nil }
            }
        }
    }

    private static func detail(_ method: Method) -> MeasurementDetail {
        MeasurementDetail("method", .text(method.rawValue))
    }
}

extension MeasurementOutcome {
    fileprivate var isAnswered: Bool {
        guard case .measured(let measurement) = self else { return false }
        return measurement.metrics[.rtt] != nil
    }
}

extension Measurement {
    fileprivate mutating func runHopLimit(
        _ target: FirstHopTarget, _ route: DefaultRoute, _ interrupt: Interrupt?,
        _ traffic: TrafficCounter?
    ) throws(TransportError) {
        let configured = target.towards.flatMap { SocketAddress(literal: $0, port: 0) }
        let nowhere = SocketAddress(literal: HopLimitCarrier.nowhere(route.family), port: 0)
        // An address of the other family has another way out.
        guard let towards = configured?.family == route.family ? configured : nowhere else {
            throw TransportError(.invalidConfiguration, "no address beyond the gateway")
        }
        var generator = SystemRandomNumberGenerator()
        var train = target.train
        train.count = min(train.count, HopLimitCarrier.packetsMax)
        let source = try DatagramSocket.sourceAddress(towards: towards)
        sourceAddress = source?.host
        let carrier = try HopLimitCarrier(
            towards: towards, from: source,
            payload: EchoPayload(size: train.payloadBytes, using: &generator))
        carrier.socket.traffic = traffic
        var run = EchoRun(train)
        try run.run(over: carrier, gaps: train.gaps(using: &generator), interrupt)
        record(run, countsLoss: false)
    }
}

internal import Telemetry
package import Transport

/// Measures a resolver: one question, once, and the time to its whole answer.
///
/// `dns_ms` is from the question's sending to the answer's arrival; over TCP, also as the fallback of a truncated
/// answer (RFC 7766), the handshake and all before it included. The question is not repeated: a lost one is a
/// finding. The failing stage is `dns`, or `tcp` when no connection came about. See docs/measurements.md.
package struct DNSMeter: Sendable {
    private let dialer: Dialer

    package init(dialer: Dialer) {
        self.dialer = dialer
    }

    /// Measures `target` once; returns within the patience whatever the network does.
    package func measure(_ target: DNSTarget, _ patience: Patience) -> MeasurementOutcome {
        var measurement = Measurement(startedAt: .now())
        var exchange: DNSExchange
        do throws(TransportError) {
            // The lookup of a resolver's name asks another resolver, and is no part of the measured time.
            var progress = Dialer.Progress()
            let addresses = try dialer.addresses(
                of: target.resolver.host, port: target.resolver.port ?? DNSTarget.defaultPort,
                nil, patience, &progress)
            guard let first = addresses.first else {
                return .notMeasured(reason: "\(target.resolver.host) has no address")
            }
            exchange = DNSExchange(target, at: first, countingIn: dialer.traffic)
            measurement.remoteAddress = first.host
        } catch {
            return measurement.failed(error, in: .dns)
        }
        do throws(DNSExchange.Failure) {
            try exchange.run(patience)
        } catch {
            measurement.record(exchange)
            switch error {
            case .transport(let failure, let stage): return measurement.failed(failure, in: stage)
            case .malformed(let why):
                measurement.failure = .init(stage: .dns, message: "malformed answer: \(why)")
                return .measured(measurement)
            }
        }
        measurement.record(exchange)
        if let code = exchange.answer?.code, code != target.expectedCode {
            measurement.failure = .init(
                stage: .dns,
                message: "the resolver answered \(code) where \(target.expectedCode) is good")
        }
        return .measured(measurement)
    }
}

extension Measurement {
    fileprivate mutating func record(_ exchange: DNSExchange) {
        sourceAddress = exchange.sourceAddress
        record(exchange.duration, as: .dns)
        details.append(MeasurementDetail("resolver", .text(exchange.resolver.description)))
        details.append(MeasurementDetail("carrier", .text(exchange.carrier.rawValue)))
        details.append(MeasurementDetail("truncated_over_udp", .boolean(exchange.wasTruncated)))
        if let handshake = exchange.handshake {
            details.append(
                MeasurementDetail("tcp_handshake_ms", .number(handshake.inMilliseconds)))
        }
        if let answer = exchange.answer {
            details += [
                MeasurementDetail("rcode", .text(answer.code.description)),
                MeasurementDetail("answers", .integer(answer.records.count)),
                MeasurementDetail("authoritative", .boolean(answer.isAuthoritative)),
                MeasurementDetail("authenticated", .boolean(answer.isAuthenticated)),
                MeasurementDetail("recursion_available", .boolean(answer.isRecursionAvailable)),
                MeasurementDetail("answer_bytes", .integer(exchange.answerBytes)),
            ]
            let addresses = answer.records.compactMap(\.address).prefix(Self.addressesShown)
            if !addresses.isEmpty {
                details.append(
                    MeasurementDetail("answer_addresses", .text(addresses.joined(separator: " "))))
            }
            if let seconds = answer.timeToLiveMin {
                details.append(MeasurementDetail("ttl_min_s", .integer(Int(seconds))))
            }
        }
        details.append(MeasurementDetail("foreign_packets", .integer(exchange.foreign)))
    }

    /// The addresses of an answer that are shown.
    private static let addressesShown = 4
}

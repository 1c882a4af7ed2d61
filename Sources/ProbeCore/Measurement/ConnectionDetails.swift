internal import Telemetry
internal import Transport

extension Measurement {
    /// Records what dialling found: times, addresses and the handshake, as far as it came.
    mutating func record(_ progress: Dialer.Progress) {
        record(progress.dns, as: .dns)
        record(progress.tcp, as: .tcp)
        record(progress.roundTrip, as: .rtt)
        record(progress.tls, as: .tls)
        remoteAddress = progress.remoteAddress?.host
        note("address_family", progress.remoteAddress?.family.rawValue)
        note("addresses", progress.addressesFound)
        note("addresses_tried", progress.addressesTried)
        note("remote_address", progress.remoteAddress?.description)
        guard let handshake = progress.handshake else { return }
        // A handshake that failed has a version too: the one it began with, which means nothing.
        if progress.tls != nil {
            tlsVersion = handshake.version
            note("tls_version", handshake.version)
            note("tls_cipher", handshake.cipher)
            note("tls_round_trips", handshake.roundTrips)
            note("alpn", handshake.applicationProtocol)
        }
        if let certificate = handshake.certificate {
            note("certificate_subject", certificate.subject)
            note("certificate_issuer", certificate.issuer)
            note(
                "certificate_days_left", certificate.daysLeft(atSeconds: handshake.judgedAtSeconds))
        }
    }

    /// Records this end of the connection.
    mutating func record(_ connection: Connection) {
        sourceAddress = connection.localAddress?.host
        note("local_address", connection.localAddress?.description)
    }

    mutating func note(_ name: String, _ value: String?) {
        if let value { details.append(MeasurementDetail(name, .text(value))) }
    }

    mutating func note(_ name: String, _ value: Int?) {
        if let value { details.append(MeasurementDetail(name, .integer(value))) }
    }

    /// Notes a number, to the thousandth.
    mutating func note(_ name: String, _ value: Double?) {
        guard let value, value.isFinite else { return }
        details.append(MeasurementDetail(name, .number((value * 1000).rounded() / 1000)))
    }

    mutating func note(_ name: String, _ value: Bool?) {
        if let value { details.append(MeasurementDetail(name, .boolean(value))) }
    }
}

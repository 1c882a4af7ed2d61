/// A certificate that a service needs, as a server and as a client.
///
/// Each service has its own, and in it no other service's name, since its names are who it is: what a
/// client may do at NATS or at ingest goes by them.
package struct CertificateRequest: Sendable, Hashable {
    package let service: Service
    /// The service's name first, then its machine's names that are no roles, then the machine's address.
    package let names: [String]

    /// Certificates that end within this time are made anew.
    package static let renewalPeriod = Duration.seconds(30 * 86_400)

    /// What a certificate on disk was found to be.
    package struct Facts: Sendable {
        package let names: Set<String>
        package let expiresAtSeconds: Int64
        package let isOfAuthority: Bool
        package let fitsKey: Bool

        package init(
            names: Set<String>, expiresAtSeconds: Int64, isOfAuthority: Bool, fitsKey: Bool
        ) {
            self.names = names
            self.expiresAtSeconds = expiresAtSeconds
            self.isOfAuthority = isOfAuthority
            self.fitsKey = fitsKey
        }
    }

    /// Why the certificate must be made; nil when the one there is good.
    ///
    /// - Parameter facts: Nil when there is none.
    package func reasonToMake(_ facts: Facts?, nowSeconds: Int64) -> String? {
        guard let facts else { return "missing" }
        if !facts.isOfAuthority { return "of another authority" }
        if !facts.fitsKey { return "without its key" }
        if facts.names != Set(names) { return "for other names" }
        return Self.isEnding(facts.expiresAtSeconds, nowSeconds: nowSeconds) ? "expiring" : nil
    }

    /// Whether what ends then is due to be renewed.
    package static func isEnding(_ expiresAtSeconds: Int64, nowSeconds: Int64) -> Bool {
        let (left, overflow) = expiresAtSeconds.subtractingReportingOverflow(nowSeconds)
        return overflow || left < renewalPeriod.components.seconds
    }
}

extension Inventory {
    /// One for each service and operator, in the order of the start.
    package var certificateRequests: [CertificateRequest] {
        machines.flatMap { machine in
            machine.services.map { service in
                CertificateRequest(
                    service: service,
                    names: [service.name] + machine.aliases + [machine.address.text])
            }
        }.sorted { $0.service < $1.service }
    }
}

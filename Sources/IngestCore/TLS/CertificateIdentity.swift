internal import NIOSSL

/// Who a client is by its certificate: the DNS names in its subjectAltName (RFC 5280, section 4.2.1.6) are the clients
/// that it may speak for.
enum CertificateIdentity {
    /// Nil when the certificate names no client.
    static func caller(_ certificate: NIOSSLCertificate, limits: RateLimits) -> Caller? {
        let names = certificate._subjectAlternativeNames().compactMap { name -> String? in
            guard name.nameType == .dnsName else { return nil }
            let text = name.contents.withUnsafeBufferPointer {
                String(validating: $0, as: UTF8.self)
            }
            // A wildcard would be a pattern, which only tokens have.
            return text.flatMap { $0.contains("*") ? nil : $0 }
        }
        guard let first = names.first, let scope = try? ClientScope(names) else { return nil }
        return Caller(id: "cert:\(first)", name: first, scope: scope, role: .probe, limits: limits)
    }
}

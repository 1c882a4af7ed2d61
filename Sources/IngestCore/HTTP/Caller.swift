internal import Telemetry

/// Who sends a request, as far as it was proved by a token or a certificate.
final class Caller: Sendable {
    /// A token's public part, or `cert:` and the certificate's name: for logs.
    let id: String
    /// For people.
    let name: String
    let scope: ClientScope
    let role: TokenRole
    let limits: RateLimits
    /// Finds the caller's buckets.
    let rateKey: UInt64

    init(id: String, name: String, scope: ClientScope, role: TokenRole, limits: RateLimits) {
        self.id = id
        self.name = name
        self.scope = scope
        self.role = role
        self.limits = limits
        rateKey = XXHash64.hash(id)
    }
}

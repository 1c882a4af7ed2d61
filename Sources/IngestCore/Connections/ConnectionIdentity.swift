internal import FoundationEssentials
internal import NIOHTTP1

/// Who speaks on a connection: what was proved once need not be proved again for each request.
struct ConnectionIdentity {
    /// Of the client's certificate, when it has shown one that our CA signed.
    var certificate: Caller?
    /// Of the latest request; nil when it proved nothing.
    private(set) var caller: Caller?

    private let tokens: TokenStore
    private let limits: @Sendable (TokenEntry) -> RateLimits
    /// The latest good token, as it was shown.
    private var shown: [UInt8] = []
    private var proof: TokenStore.Proof?
    private var tokenCaller: Caller?

    init(tokens: TokenStore, limits: @escaping @Sendable (TokenEntry) -> RateLimits) {
        self.tokens = tokens
        self.limits = limits
    }

    /// Finds out who sends a request: by its token, or else by the connection's certificate.
    mutating func identify(_ head: HTTPRequestHead) -> Caller? {
        caller = nil
        let fields = head.headers["authorization"]
        guard let field = fields.first else {
            caller = certificate
            return caller
        }
        guard fields.count == 1, let token = Self.token(of: field) else { return nil }
        caller = identify(token)
        return caller
    }

    private mutating func identify(_ token: Substring) -> Caller? {
        let bytes = Array(token.utf8)
        // Compared in a time that does not depend on the bytes: behind a proxy the connection's next request may
        // be somebody else's.
        if let proof, let tokenCaller, ConstantTime.areEqual(bytes, shown),
            tokens.stillHolds(proof, at: .now)
        {
            return tokenCaller
        }
        guard let proof = bytes.withUnsafeBytes({ tokens.proof(of: $0, at: .now) }) else {
            return nil
        }
        let entry = proof.entry
        let caller = Caller(
            id: entry.id, name: entry.name, scope: entry.scope, role: entry.role,
            limits: limits(entry))
        self.proof = proof
        tokenCaller = caller
        shown = bytes
        return caller
    }

    /// The token of an Authorization field (RFC 6750, section 2.1).
    private static func token(of field: String) -> Substring? {
        guard let space = field.utf8.firstIndex(of: UInt8(ascii: " ")),
            field[..<space].lowercased() == "bearer"
        else { return nil }
        return withoutBlanks(field)[space...].drop { $0 == " " }
    }
}

package import FoundationEssentials

/// What the tokens file knows of one token: enough to recognise it, not enough to use it.
///
/// A class, because each request is handed one: that costs one reference count, not one for each member.
package final class TokenEntry: Sendable {
    /// Public: tells tokens apart in logs, lists and for revocation.
    package let id: String
    /// For people: whom the token was given to.
    package let name: String
    package let role: TokenRole
    /// Whom it may speak for: nobody, unless its role is ``TokenRole/probe``.
    package let scope: ClientScope
    package let created: Date
    /// When the token ends, with all its secrets. Nil for one that does not end.
    package let expires: Date?
    /// Most events a second, in ``limitRange``; nil takes what the service allows to everyone.
    package let eventsPerSecondMax: Int?
    /// Most bytes of bodies a second, in ``limitRange``; nil takes what the service allows to everyone.
    package let bytesPerSecondMax: Int?
    /// The newest first; 1 or ``secretsMax``.
    let secrets: [TokenSecret]
    /// Which pepper the secrets are kept under; see ``TokenPepper/fingerprint``.
    let pepperFingerprint: String

    /// Secrets of a token at once: the one in use, and the one before it while it is being replaced.
    static let secretsMax = 2
    /// What a limit per second can be.
    package static let limitRange = 1...1_000_000_000_000

    init(
        id: String, name: String, role: TokenRole, scope: ClientScope, created: Date,
        expires: Date?, eventsPerSecondMax: Int?, bytesPerSecondMax: Int?,
        secrets: [TokenSecret], pepperFingerprint: String
    ) {
        self.id = id
        self.name = name
        self.role = role
        self.scope = scope
        self.created = created
        self.expires = expires
        self.eventsPerSecondMax = eventsPerSecondMax
        self.bytesPerSecondMax = bytesPerSecondMax
        self.secrets = secrets
        self.pepperFingerprint = pepperFingerprint
    }

    /// Whether it can be used at this time.
    package func isValid(at moment: Date) -> Bool {
        expires.map { moment < $0 } ?? true
    }

    /// When the newest secret was made; later than ``created`` when the token was rotated.
    package var rotated: Date { secrets.first?.created ?? created }

    /// Until when the secret before the newest can be used; nil when it is not there or has ended.
    package func overlapEnd(at moment: Date) -> Date? {
        secrets.dropFirst().compactMap(\.expires).first { moment < $0 }
    }
}

/// One secret of a token, as the file keeps it.
struct TokenSecret: Sendable, Codable {
    let created: Date
    /// Nil for the newest, which ends with its token.
    let expires: Date?
    let digest: SecretDigest

    private enum CodingKeys: String, CodingKey {
        case created, expires
        case digest = "hmac_sha256"
    }

    init(created: Date, expires: Date?, digest: SecretDigest) {
        self.created = created
        self.expires = expires
        self.digest = digest
    }

    init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: CodingKeys.self)
        created = try members.decode(Date.self, forKey: .created)
        expires = try members.decodeIfPresent(Date.self, forKey: .expires)
        let digits = try members.decode(String.self, forKey: .digest)
        guard let digest = SecretDigest(hexadecimal: digits) else {
            throw DecodingError.dataCorruptedError(
                forKey: .digest, in: members, debugDescription: "must be 64 hexadecimal digits")
        }
        self.digest = digest
    }

    func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: CodingKeys.self)
        try members.encode(created, forKey: .created)
        try members.encodeIfPresent(expires, forKey: .expires)
        try members.encode(digest.hexadecimal, forKey: .digest)
    }
}

package import FoundationEssentials

/// What the tokens file knows of one token: enough to recognise it, not enough to use it.
package struct TokenEntry: Sendable {
    /// Public: tells tokens apart in logs, lists and for revocation.
    package let id: String
    /// For people: whom the token was given to.
    package let name: String
    package let scope: ClientScope
    package let created: Date
    /// Nil for a token that does not expire.
    package let expires: Date?
    /// Of the secret's text. A secret has 256 random bits, so a plain hash of it tells nothing; salts and
    /// slow hashes are for what people can remember.
    let secretDigest: SHA256Digest

    /// Whether it can be used at this time.
    package func isValid(at moment: Date) -> Bool {
        expires.map { moment < $0 } ?? true
    }
}

extension TokenEntry: Codable {
    private enum CodingKeys: String, CodingKey {
        case id, name, clients, created, expires, sha256
    }

    package init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: CodingKeys.self)
        func corrupted(_ key: CodingKeys, _ problem: String) -> DecodingError {
            .dataCorruptedError(forKey: key, in: members, debugDescription: problem)
        }
        id = try members.decode(String.self, forKey: .id)
        guard TokenText.isID(id) else {
            throw corrupted(.id, "must be \(TokenText.idDigitCount) hexadecimal digits")
        }
        name = try members.decode(String.self, forKey: .name)
        do {
            scope = try ClientScope(members.decode([String].self, forKey: .clients))
        } catch let problem as ClientScope.Problem {
            throw corrupted(.clients, problem.description)
        }
        created = try members.decode(Date.self, forKey: .created)
        expires = try members.decodeIfPresent(Date.self, forKey: .expires)
        let digits = try members.decode(String.self, forKey: .sha256)
        guard let digest = SHA256Digest(hexadecimal: digits) else {
            throw corrupted(.sha256, "must be 64 hexadecimal digits")
        }
        secretDigest = digest
    }

    package func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: CodingKeys.self)
        try members.encode(id, forKey: .id)
        try members.encode(name, forKey: .name)
        try members.encode(scope.patterns, forKey: .clients)
        try members.encode(created, forKey: .created)
        try members.encodeIfPresent(expires, forKey: .expires)
        try members.encode(secretDigest.hexadecimal, forKey: .sha256)
    }
}

internal import FoundationEssentials

extension TokenEntry: Codable {
    private enum CodingKeys: String, CodingKey {
        case id, name, role, clients, created, expires, secrets, pepper
        case eventsPerSecondMax = "events_per_second"
        case bytesPerSecondMax = "bytes_per_second"
        /// The only secret of entries that were made before there was a pepper.
        case sha256
    }

    package convenience init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: CodingKeys.self)
        func corrupted(_ key: CodingKeys, _ problem: String) -> DecodingError {
            .dataCorruptedError(forKey: key, in: members, debugDescription: problem)
        }
        func limit(_ key: CodingKeys) throws -> Int? {
            guard let number = try members.decodeIfPresent(Double.self, forKey: key) else {
                return nil
            }
            guard let limit = Int(exactly: number), Self.limitRange.contains(limit) else {
                throw corrupted(
                    key,
                    "must be a whole number from \(Self.limitRange.lowerBound) to"
                        + " \(Self.limitRange.upperBound)")
            }
            return limit
        }
        let id = try members.decode(String.self, forKey: .id)
        guard TokenText.isID(id) else {
            throw corrupted(.id, "must be \(TokenText.idDigitCount) hexadecimal digits")
        }
        guard !members.contains(.sha256) else {
            throw corrupted(
                .sha256,
                "is how earlier versions kept secrets; delete the line and make the token anew with"
                    + " 'qoectl token create'")
        }
        let role = try TokenRole(rawValue: members.decode(String.self, forKey: .role))
        guard let role else { throw corrupted(.role, "must be \(TokenRole.list)") }
        let scope: ClientScope
        if role == .probe {
            do {
                scope = try ClientScope(members.decode([String].self, forKey: .clients))
            } catch let problem as ClientScope.Problem {
                throw corrupted(.clients, problem.description)
            }
        } else {
            guard !members.contains(.clients) else {
                throw corrupted(.clients, "are for the role \(TokenRole.probe.rawValue) only")
            }
            scope = .nobody
        }
        let secrets = try members.decode([TokenSecret].self, forKey: .secrets)
        guard (1...Self.secretsMax).contains(secrets.count) else {
            throw corrupted(.secrets, "must be from 1 to \(Self.secretsMax)")
        }
        guard secrets.dropFirst().allSatisfy({ $0.expires != nil }) else {
            throw corrupted(.secrets, "must have 'expires', all but the first")
        }
        try self.init(
            id: id, name: members.decode(String.self, forKey: .name), role: role, scope: scope,
            created: members.decode(Date.self, forKey: .created),
            expires: members.decodeIfPresent(Date.self, forKey: .expires),
            eventsPerSecondMax: limit(.eventsPerSecondMax),
            bytesPerSecondMax: limit(.bytesPerSecondMax), secrets: secrets,
            pepperFingerprint: members.decode(String.self, forKey: .pepper))
    }

    package func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: CodingKeys.self)
        try members.encode(id, forKey: .id)
        try members.encode(name, forKey: .name)
        try members.encode(role.rawValue, forKey: .role)
        if role == .probe { try members.encode(scope.patterns, forKey: .clients) }
        try members.encode(created, forKey: .created)
        try members.encodeIfPresent(expires, forKey: .expires)
        try members.encodeIfPresent(eventsPerSecondMax, forKey: .eventsPerSecondMax)
        try members.encodeIfPresent(bytesPerSecondMax, forKey: .bytesPerSecondMax)
        try members.encode(secrets, forKey: .secrets)
        try members.encode(pepperFingerprint, forKey: .pepper)
    }
}

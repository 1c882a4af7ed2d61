/// Hides the secrets that URLs carry, for logs, errors and printed configurations.
package enum Redaction {
    /// What stands in place of a secret.
    package static let mask = "***"

    /// The URL with passwords hidden: in its user part and in its query.
    ///
    /// A user part without a password is hidden as a whole (to NATS it is a token), except for
    /// PostgreSQL, where it is only a role's name. Made for malformed text too: where it is unclear
    /// what is a password, more is hidden rather than less.
    package static func url(_ text: String) -> String {
        guard let separator = text.firstRange(of: "://") else {
            guard let at = text.lastIndex(of: "@") else { return maskedQuery(text) }
            return mask + text[at...]
        }
        let scheme = text[..<separator.lowerBound]
        let rest = text[separator.upperBound...]
        let authorityEnd = rest.firstIndex { "/?#".contains($0) } ?? rest.endIndex
        var authority = rest[..<authorityEnd]
        var remainder = rest[authorityEnd...]
        if !authority.contains("@"), hasOddPort(authority) {
            // A password with an unescaped "/" or "," looks like a host with a strange port.
            guard let at = rest.lastIndex(of: "@") else {
                let colon = authority.firstIndex(of: ":") ?? authority.endIndex
                return "\(scheme)://\(authority[..<colon]):\(mask)"
            }
            authority = rest[...at]
            remainder = rest[rest.index(after: at)...]
        }
        guard let at = authority.lastIndex(of: "@") else {
            return "\(scheme)://\(authority)\(maskedQuery(String(remainder)))"
        }
        let user = maskedUser(authority[..<at], scheme: scheme.lowercased())
        return "\(scheme)://\(user)\(authority[at...])\(maskedQuery(String(remainder)))"
    }

    private static func maskedUser(_ user: Substring, scheme: String) -> String {
        if let colon = user.firstIndex(of: ":") { return "\(user[..<colon]):\(mask)" }
        return scheme == "postgresql" || scheme == "postgres" ? String(user) : mask
    }

    /// Whether a host is followed by a colon and something that is not a number.
    private static func hasOddPort(_ authority: Substring) -> Bool {
        // Several hosts are separated by commas in a libpq URI.
        authority.split(separator: ",").contains { host in
            guard !host.hasPrefix("["), let colon = host.firstIndex(of: ":") else { return false }
            return !host[host.index(after: colon)...].allSatisfy { $0.isASCII && $0.isNumber }
        }
    }

    private static func maskedQuery(_ text: String) -> String {
        guard let question = text.firstIndex(of: "?") else { return text }
        let pairs = text[text.index(after: question)...].split(
            separator: "&", omittingEmptySubsequences: false)
        let masked = pairs.map { pair -> Substring in
            guard let equals = pair.firstIndex(of: "=") else { return pair }
            let name = pair[..<equals].lowercased()
            let isSecret = secretWords.contains { name.contains($0) }
            return isSecret ? pair[...equals] + mask : pair
        }
        return text[...question] + masked.joined(separator: "&")
    }

    private static let secretWords = ["password", "passwd", "token", "secret", "apikey", "api_key"]
}

package import Transport

/// An `http` or `https` address, taken apart (RFC 3986).
package struct HTTPURL: Sendable, Hashable {
    /// Whether it is `https`.
    package let isSecure: Bool
    /// The host without the brackets of an IPv6 address.
    package let host: String
    package let port: UInt16
    /// What the request line carries: path and query, never empty.
    package let requestTarget: String
    /// What the `Host` field carries: the host, and the port when it is not the scheme's own.
    package let authority: String

    /// Takes `text` apart; a fragment is left out.
    ///
    /// - Throws: ``TargetRefusal`` that says what is wrong with the text.
    package init(_ text: String) throws(TargetRefusal) {
        guard text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw TargetRefusal(text, "has characters that a URL cannot have; encode them")
        }
        guard let schemeEnd = text.firstRange(of: "://") else {
            throw TargetRefusal(text, "has no scheme; write http://… or https://…")
        }
        switch text[..<schemeEnd.lowerBound].lowercased() {
        case "http": isSecure = false
        case "https": isSecure = true
        default: throw TargetRefusal(text, "is neither http nor https")
        }
        let rest = text[schemeEnd.upperBound...].prefix { $0 != "#" }
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard !authority.contains("@") else {
            // The text of a target is stored and shown everywhere.
            throw TargetRefusal("the URL", "carries credentials, which everyone would see")
        }
        let endpoint = try Endpoint(authority, of: text)
        let ownPort: UInt16 = isSecure ? 443 : 80
        host = endpoint.host
        port = endpoint.port ?? ownPort
        let path = rest[authority.endIndex...]
        requestTarget = path.hasPrefix("/") ? String(path) : "/" + path
        let bracketed = host.contains(":") ? "[\(host)]" : host
        self.authority = port == ownPort ? bracketed : "\(bracketed):\(port)"
    }

    /// The host's address when it is written as one, so that nothing has to be looked up.
    package var literalAddress: SocketAddress? {
        SocketAddress(literal: host, port: port)
    }

    /// The same server with another path.
    package func with(requestTarget: String) -> HTTPURL {
        HTTPURL(self, requestTarget: requestTarget)
    }

    /// This address's path, without its query and closing slash, with `suffix` after it.
    package func path(appending suffix: String) -> String {
        let path = requestTarget.prefix { $0 != "?" }
        return (path.hasSuffix("/") ? path.dropLast() : path) + suffix
    }

    private init(_ other: HTTPURL, requestTarget: String) {
        isSecure = other.isSecure
        host = other.host
        port = other.port
        authority = other.authority
        self.requestTarget = requestTarget
    }
}

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

    /// Longest name of a host in DNS's text form (RFC 1035, section 2.3.4).
    private static let hostBytesMax = 253

    /// Takes `text` apart; a fragment is left out.
    ///
    /// - Throws: ``Refusal`` that says what is wrong with the text.
    package init(_ text: String) throws(Refusal) {
        guard text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw Refusal(text, "has characters that a URL cannot have; encode them")
        }
        guard let schemeEnd = text.firstRange(of: "://") else {
            throw Refusal(text, "has no scheme; write http://… or https://…")
        }
        switch text[..<schemeEnd.lowerBound].lowercased() {
        case "http": isSecure = false
        case "https": isSecure = true
        default: throw Refusal(text, "is neither http nor https")
        }
        let rest = text[schemeEnd.upperBound...].prefix { $0 != "#" }
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard !authority.contains("@") else {
            // The text of a target is stored and shown everywhere.
            throw Refusal("the URL", "carries credentials, which everyone would see")
        }
        let (host, port) = try Self.split(authority, of: text)
        let ownPort: UInt16 = isSecure ? 443 : 80
        self.host = host
        self.port = port ?? ownPort
        let path = rest[authority.endIndex...]
        requestTarget = path.hasPrefix("/") ? String(path) : "/" + path
        let bracketed = host.contains(":") ? "[\(host)]" : host
        self.authority = self.port == ownPort ? bracketed : "\(bracketed):\(self.port)"
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

    private static func split(
        _ authority: Substring, of text: String
    ) throws(Refusal) -> (host: String, port: UInt16?) {
        let host: Substring
        let afterHost: Substring
        if authority.hasPrefix("[") {
            guard let end = authority.firstIndex(of: "]") else {
                throw Refusal(text, "has no ] after the IPv6 address")
            }
            host = authority[authority.index(after: authority.startIndex)..<end]
            afterHost = authority[authority.index(after: end)...]
            guard SocketAddress(literal: String(host), port: 0)?.family == .ipv6 else {
                throw Refusal(text, "has no IPv6 address in its brackets")
            }
        } else {
            host = authority.prefix { $0 != ":" }
            afterHost = authority[host.endIndex...]
            guard !host.isEmpty, host.utf8.count <= hostBytesMax,
                host.utf8.allSatisfy({ isHostByte($0) })
            else { throw Refusal(text, "has no usable host name") }
        }
        guard !afterHost.isEmpty else { return (host.lowercased(), nil) }
        guard afterHost.hasPrefix(":"), let port = UInt16(afterHost.dropFirst()), port > 0 else {
            throw Refusal(text, "has no port from 1 to 65535 after its host")
        }
        return (host.lowercased(), port)
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// Why a text is not a usable address.
    package struct Refusal: Error, Sendable, CustomStringConvertible {
        package let description: String

        package init(_ what: String, _ why: String) {
            description = "\(what) \(why)"
        }
    }
}

package import Transport

/// A host, by name or address, and a port.
package struct Endpoint: Sendable, Hashable {
    /// In lower case, without the brackets of an IPv6 address.
    package let host: String
    /// Nil when the text gives none.
    package let port: UInt16?

    /// Longest name of a host in DNS's text form (RFC 1035, section 2.3.4).
    private static let hostBytesMax = 253

    /// The host and port in an authority as URLs have it (RFC 3986, section 3.2), such as `a.example:53`
    /// or `[2001:db8::1]`.
    ///
    /// - Parameter text: The whole address, for the refusal.
    init(_ authority: Substring, of text: String) throws(TargetRefusal) {
        let host: Substring
        let afterHost: Substring
        if authority.hasPrefix("[") {
            guard let end = authority.firstIndex(of: "]") else {
                throw TargetRefusal(text, "has no ] after the IPv6 address")
            }
            host = authority[authority.index(after: authority.startIndex)..<end]
            afterHost = authority[authority.index(after: end)...]
            guard SocketAddress(literal: String(host), port: 0)?.family == .ipv6 else {
                throw TargetRefusal(text, "has no IPv6 address in its brackets")
            }
        } else {
            host = authority.prefix { $0 != ":" }
            afterHost = authority[host.endIndex...]
            guard !host.isEmpty, host.utf8.count <= Self.hostBytesMax,
                host.utf8.allSatisfy({ Self.isHostByte($0) })
            else { throw TargetRefusal(text, "has no usable host name") }
        }
        self.host = host.lowercased()
        guard !afterHost.isEmpty else {
            port = nil
            return
        }
        guard afterHost.hasPrefix(":"), let number = UInt16(afterHost.dropFirst()), number > 0
        else {
            throw TargetRefusal(text, "has no port from 1 to 65535 after its host")
        }
        port = number
    }

    /// The host's address when it is written as one, so that nothing has to be looked up.
    package func literalAddress(port: UInt16) -> SocketAddress? {
        SocketAddress(literal: host, port: port)
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
}

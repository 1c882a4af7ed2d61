internal import Glibc

/// The IP address of a machine.
///
/// Two spellings of one address are equal.
package struct HostAddress: Sendable, Hashable {
    package enum Family: String, Sendable, CaseIterable {
        case ipv4, ipv6
    }

    package let family: Family
    /// In network order: 4 or 16.
    private let bytes: [UInt8]
    /// The usual form: of IPv6 that of RFC 5952.
    package let text: String

    /// Reads `192.0.2.11` or `2001:db8::1`; nil when it is no IP address, has a zone, or is an IPv4 address in
    /// the dress of IPv6.
    package init?(_ text: String) {
        if let bytes = Self.bytes(of: text, AF_INET, count: 4) {
            self.init(.ipv4, bytes)
        } else if let bytes = Self.bytes(of: text, AF_INET6, count: 16) {
            // ::ffff:0:0/96 (RFC 4291, section 2.5.5.2) reaches what the IPv4 address reaches.
            let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]
            if bytes.starts(with: mapped) { return nil }
            self.init(.ipv6, bytes)
        } else {
            return nil
        }
    }

    private init?(_ family: Family, _ bytes: [UInt8]) {
        var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let size = socklen_t(buffer.count)
        guard
            unsafe inet_ntop(family == .ipv4 ? AF_INET : AF_INET6, bytes, &buffer, size) != nil
        else { return nil }
        self.family = family
        self.bytes = bytes
        text = String(
            decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func bytes(of text: String, _ family: Int32, count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        return unsafe inet_pton(family, text, &bytes) == 1 ? bytes : nil
    }

    /// Whether only the machine itself reaches it: 127.0.0.0/8 and ::1.
    package var isLoopback: Bool {
        switch family {
        case .ipv4: bytes.first == 127
        case .ipv6: bytes.dropLast().allSatisfy { $0 == 0 } && bytes.last == 1
        }
    }

    /// Why no machine can be reached by it, as a noun; nil when one can.
    var kindWithoutMachine: String? {
        if bytes.allSatisfy({ $0 == 0 }) { return "the unspecified address" }
        switch family {
        case .ipv4:
            if (bytes.first ?? 0) >= 224 { return "a multicast or reserved address" }
        case .ipv6:
            if bytes.first == 0xFF { return "a multicast address" }
            if bytes.first == 0xFE, bytes[1] & 0xC0 == 0x80 {
                return "a link-local address, which means nothing without an interface"
            }
        }
        return nil
    }
}

extension HostAddress: CustomStringConvertible {
    package var description: String { text }
}

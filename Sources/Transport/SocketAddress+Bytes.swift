internal import Glibc

extension SocketAddress {
    /// The address of 4 (IPv4) or 16 bytes (IPv6) in network order; nil for another count of bytes or an
    /// unknown scope.
    ///
    /// - Parameter scope: The interface that a link-local address belongs to (RFC 4007, section 11).
    package init?(bytes: some Collection<UInt8>, port: UInt16, scope: String? = nil) {
        let text: String
        switch bytes.count {
        case 4: text = bytes.map { String($0) }.joined(separator: ".")
        case 16:
            var groups: [String] = []
            var high: UInt8?
            for byte in bytes {
                guard let first = high else {
                    high = byte
                    continue
                }
                groups.append(String(UInt16(first) << 8 | UInt16(byte), radix: 16))
                high = nil
            }
            text = groups.joined(separator: ":")
        default: return nil
        }
        self.init(literal: scope.map { "\(text)%\($0)" } ?? text, port: port)
    }

    /// Whether both are the same address, whatever the ports.
    package func isSameHost(as other: SocketAddress) -> Bool {
        family == other.family && addressBytes == other.addressBytes
    }

    /// The same address with another port.
    package func with(port: UInt16) -> SocketAddress? {
        SocketAddress(literal: host, port: port)
    }

    /// The address alone, in network order.
    private var addressBytes: [UInt8] {
        unsafe withSockAddr { address, _ in
            switch family {
            case .ipv4:
                unsafe address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    unsafe withUnsafeBytes(of: $0.pointee.sin_addr) { unsafe Array($0) }
                }
            case .ipv6:
                unsafe address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                    unsafe withUnsafeBytes(of: $0.pointee.sin6_addr) { unsafe Array($0) }
                }
            }
        }
    }
}

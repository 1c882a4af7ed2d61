/// What the network, or this machine, said of a datagram that could not be delivered, from the socket's
/// error queue (`IP_RECVERR`, ip(7)).
package struct ICMPReport: Sendable {
    /// Who says it.
    package enum Origin: Sendable, Equatable {
        /// This machine, before anything was sent.
        case local
        /// An ICMP message, also of this machine's own, as when a neighbour does not answer ARP.
        case icmp(type: UInt8, code: UInt8)
    }

    package let origin: Origin
    package let family: AddressFamily
    /// The system's error number of it.
    package let errorNumber: Int32
    /// The host that sent the ICMP message.
    package let sender: SocketAddress?
    /// Where the datagram was going.
    package let destination: SocketAddress?
    /// What the message repeats of the datagram; from the ICMP header on for sockets of ICMP, only what is
    /// behind the UDP header for those of UDP.
    package let quoted: [UInt8]
    package let arrival: DatagramArrival

    /// Whether the datagram's hops were used up (RFC 792, RFC 4443, section 3.3).
    package var isTimeExceeded: Bool {
        switch (family, origin) {
        case (.ipv4, .icmp(11, 0)), (.ipv6, .icmp(3, 0)): true
        default: false
        }
    }

    /// The reason without the sender: `host unreachable`.
    package var reason: String {
        guard case .icmp(let type, let code) = origin else {
            return TransportError.text(ofErrno: errorNumber)
        }
        return switch (family, type, code) {
        case (.ipv4, 3, 0), (.ipv4, 3, 6), (.ipv4, 3, 11): "network unreachable"
        case (.ipv4, 3, 1), (.ipv4, 3, 7), (.ipv4, 3, 12): "host unreachable"
        case (.ipv4, 3, 2): "protocol unreachable"
        case (.ipv4, 3, 3), (.ipv6, 1, 4): "port unreachable"
        case (.ipv4, 3, 4), (.ipv6, 2, _): "packet too big"
        case (.ipv4, 3, 9), (.ipv4, 3, 10), (.ipv4, 3, 13), (.ipv6, 1, 1):
            "administratively prohibited"
        case (.ipv4, 11, 0), (.ipv6, 3, 0): "hops used up"
        case (.ipv6, 1, 0): "no route"
        case (.ipv6, 1, 3): "address unreachable"
        default: "ICMP type \(type) code \(code)"
        }
    }
}

extension ICMPReport: CustomStringConvertible {
    /// `host unreachable, says 192.0.2.1`
    package var description: String {
        guard let sender else { return reason }
        return "\(reason), says \(sender.host)"
    }
}

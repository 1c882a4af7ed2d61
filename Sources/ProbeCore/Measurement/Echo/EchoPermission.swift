internal import Transport

/// By what means this process may send ICMP echo requests.
package struct EchoPermission: Sendable, Equatable {
    package enum Means: String, Sendable, CaseIterable {
        /// A ping socket: the process's group is in `net.ipv4.ping_group_range`, which is also for IPv6.
        case pingSocket = "ping-socket"
        /// A raw socket: the process has `CAP_NET_RAW`.
        case rawSocket = "raw-socket"
        /// None.
        case none
    }

    package let ipv4: Means
    package let ipv6: Means

    /// What may be done now, by opening sockets and closing them again; nothing is sent.
    package static func current() -> EchoPermission {
        EchoPermission(ipv4: means(.ipv4), ipv6: means(.ipv6))
    }

    /// What to do about it when it is ``Means/none``.
    package static let remedy =
        "this process may not send ICMP echo requests; allow its group by"
        + " sysctl net.ipv4.ping_group_range=\"0 2147483647\", or give the program the capability by"
        + " setcap cap_net_raw+ep"

    /// A socket for echo requests by the least means that is allowed; nil when none is.
    ///
    /// - Throws: ``TransportError`` when the system has no sockets left or does not know the family.
    static func openSocket(_ family: AddressFamily) throws(TransportError) -> DatagramSocket? {
        if let socket = try DatagramSocket.open(.ping, family) { return socket }
        return try DatagramSocket.open(.raw, family)
    }

    private static func means(_ family: AddressFamily) -> Means {
        // A family that the system does not have, or no free descriptor, is no permission either.
        switch (try? openSocket(family))??.kind {
        case .ping: .pingSocket
        case .raw: .rawSocket
        case .udp, nil: .none
        }
    }
}

internal import Transport

/// Packets of one hop towards somewhere beyond the gateway, which says of each that its hops are used up.
///
/// Works without permissions and with gateways that do not answer echo requests, as they do owe this message
/// (RFC 1812, section 5.3.1; RFC 8200, section 3), though only so many a second (RFC 1812, section 4.3.2.8).
struct HopLimitCarrier: EchoCarrier {
    let socket: DatagramSocket
    private let destinations: [SocketAddress]
    private let source: SocketAddress?
    private let payload: EchoPayload

    /// The ports that `traceroute` uses. Each packet has its own: it is what a gateway repeats for certain.
    private static let firstPort: UInt16 = 33_434
    /// The most packets of a train: Linux sends six of these messages in a burst and then one a second.
    static let packetsMax = 5
    /// Addresses that nobody has (RFC 5737, RFC 3849): the packets never get beyond the gateway.
    static func nowhere(_ family: AddressFamily) -> String {
        family == .ipv4 ? "203.0.113.1" : "2001:db8::1"
    }

    init(
        towards address: SocketAddress, from source: SocketAddress?, payload: EchoPayload
    ) throws(TransportError) {
        socket = try DatagramSocket.udp(address.family)
        try socket.limitHops(to: 1)
        destinations = (0..<Self.packetsMax).compactMap {
            address.with(port: Self.firstPort + UInt16($0))
        }
        self.source = source
        self.payload = payload
    }

    func send(_ number: Int) throws(TransportError) -> MonotonicInstant {
        guard destinations.indices.contains(number) else {
            throw TransportError(.system, "no address to send to")
        }
        return try socket.send(payload.bytes(of: number), to: destinations[number])
    }

    func meaning(of reception: DatagramSocket.Reception) -> EchoMeaning {
        guard case .report(let report) = reception,
            let number = destinations.firstIndex(where: { $0.port == report.destination?.port })
        else { return .foreign }
        // A gateway without a route says that instead, by whichever of its addresses. What this machine says
        // itself, as when the gateway does not answer ARP, is no answer.
        let isOthers =
            report.sender.map { sender in source.map { !sender.isSameHost(as: $0) } ?? false }
            ?? false
        return report.isTimeExceeded || isOthers
            ? .answer(number: number, report.arrival) : .lost(reason: report.description)
    }
}

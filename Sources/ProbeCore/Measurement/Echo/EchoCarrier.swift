internal import Transport

/// How the packets of a train travel.
protocol EchoCarrier {
    var socket: DatagramSocket { get }
    /// Sends the packet with this number, from 0; gives the moment just before the system took it.
    func send(_ number: Int) throws(TransportError) -> MonotonicInstant
    /// What something received says of the train.
    func meaning(of reception: DatagramSocket.Reception) -> EchoMeaning
}

/// What a received packet or report says of a train.
enum EchoMeaning {
    case answer(number: Int, DatagramArrival)
    /// The host itself says that it does not answer: it is there.
    case refusal(number: Int, DatagramArrival)
    /// Why a packet of the train did not arrive.
    case lost(reason: String)
    /// Nothing: it belongs to somebody else.
    case foreign
}

/// Echo over UDP (RFC 862).
struct UDPEchoCarrier: EchoCarrier {
    /// Connected to the host that echoes.
    let socket: DatagramSocket
    let payload: EchoPayload

    func send(_ number: Int) throws(TransportError) -> MonotonicInstant {
        try socket.send(payload.bytes(of: number))
    }

    func meaning(of reception: DatagramSocket.Reception) -> EchoMeaning {
        switch reception {
        case .packet(let packet):
            guard !packet.isCut, let number = payload.number(in: packet.bytes) else {
                return .foreign
            }
            return .answer(number: number, packet.arrival)
        // The socket is new and sends to one host alone: no report is anybody else's.
        case .report(let report): return .lost(reason: report.description)
        }
    }
}

/// Echo by ICMP (RFC 792) and ICMPv6 (RFC 4443, section 4).
struct ICMPEchoCarrier: EchoCarrier {
    /// Connected to the host that echoes.
    let socket: DatagramSocket
    private let payload: EchoPayload
    private let host: SocketAddress
    private let identifier: UInt16
    /// Whether the host answers also by refusing: it is there then, though it does not echo.
    private let acceptsRefusals: Bool

    private static let headBytes = 8

    /// - Parameter socket: Connected; a ping or a raw socket.
    init(
        _ socket: DatagramSocket, host: SocketAddress, payload: EchoPayload, acceptsRefusals: Bool,
        using generator: inout some RandomNumberGenerator
    ) {
        self.socket = socket
        self.payload = payload
        self.host = host
        self.acceptsRefusals = acceptsRefusals
        // A ping socket has its identifier from the system.
        identifier =
            switch socket.kind {
            case .ping: socket.localAddress?.port ?? 0
            case .raw, .udp: UInt16.random(in: 0 ... .max, using: &generator)
            }
    }

    func send(_ number: Int) throws(TransportError) -> MonotonicInstant {
        let type: UInt8 = socket.family == .ipv4 ? 8 : 128
        var head: [UInt8] = [type, 0, 0, 0]
        for value in [identifier, UInt16(truncatingIfNeeded: number)] {
            head += [UInt8(value >> 8), UInt8(truncatingIfNeeded: value)]
        }
        var packet = head + payload.bytes(of: number)
        if socket.family == .ipv4 {
            // The system makes that of ICMPv6, as the addresses are part of it.
            let sum = Self.checksum(packet)
            packet[2] = UInt8(sum >> 8)
            packet[3] = UInt8(truncatingIfNeeded: sum)
        }
        return try socket.send(packet)
    }

    func meaning(of reception: DatagramSocket.Reception) -> EchoMeaning {
        switch reception {
        case .packet(let packet):
            let answerType: UInt8 = socket.family == .ipv4 ? 0 : 129
            guard !packet.isCut, packet.source?.isSameHost(as: host) == true,
                packet.bytes.first == answerType, identifier(in: packet.bytes) == identifier,
                let number = payload.number(in: packet.bytes.dropFirst(Self.headBytes))
            else { return .foreign }
            return .answer(number: number, packet.arrival)
        case .report(let report):
            // A raw socket also gets what is said of other programs' requests to the same host.
            if let quoted = identifier(in: report.quoted), quoted != identifier { return .foreign }
            if acceptsRefusals, report.sender?.isSameHost(as: host) == true,
                let number = sequenceNumber(in: report.quoted)
            {
                return .refusal(number: number, report.arrival)
            }
            return .lost(reason: report.description)
        }
    }

    /// The number of a packet by its head; a train is shorter than the field is wide.
    private func sequenceNumber(in message: [UInt8]) -> Int? {
        guard message.count >= Self.headBytes else { return nil }
        return Int(message[6]) << 8 | Int(message[7])
    }

    private func identifier(in message: [UInt8]) -> UInt16? {
        guard message.count >= Self.headBytes else { return nil }
        return UInt16(message[4]) << 8 | UInt16(message[5])
    }

    /// The Internet checksum (RFC 1071).
    static func checksum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for (index, byte) in bytes.enumerated() {
            sum &+= index.isMultiple(of: 2) ? UInt32(byte) << 8 : UInt32(byte)
        }
        while sum >> 16 != 0 { sum = sum & 0xFFFF &+ sum >> 16 }
        return ~UInt16(truncatingIfNeeded: sum)
    }
}

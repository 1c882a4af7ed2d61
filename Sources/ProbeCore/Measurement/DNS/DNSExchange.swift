internal import Telemetry
internal import Transport

/// One question and its answer, over UDP and, where that does not suffice, TCP.
struct DNSExchange {
    enum Failure: Error {
        case transport(TransportError, ErrorStage)
        /// The resolver answered the question with something that is not DNS.
        case malformed(String)
    }

    let resolver: SocketAddress
    private let question: DNSQuestion
    private let wanted: DNSTarget.Carrier
    private let traffic: TrafficCounter?

    /// What the answer came by, or should have.
    private(set) var carrier: DNSTarget.Carrier
    private(set) var wasTruncated = false
    /// Of TCP, where that was used.
    private(set) var handshake: Duration?
    private(set) var answer: DNSAnswer?
    private(set) var answerBytes = 0
    /// From the question's sending to the whole answer.
    private(set) var duration: Duration?
    /// Packets that came from elsewhere, or do not answer the question.
    private(set) var foreign = 0
    private(set) var sourceAddress: String?

    init(_ target: DNSTarget, at resolver: SocketAddress, countingIn traffic: TrafficCounter?) {
        self.traffic = traffic
        self.resolver = resolver
        question = DNSQuestion(name: target.name, type: target.recordType.number)
        wanted = target.carrier
        carrier = target.carrier
    }

    mutating func run(_ patience: Patience) throws(Failure) {
        var started = MonotonicInstant.now()
        if wanted == .udp {
            let (reply, sent, duration) = try askOverUDP(patience)
            started = sent
            if !reply.isTruncated {
                answer = reply
                self.duration = duration
                return
            }
            wasTruncated = true
            carrier = .tcp
        }
        answer = try askOverTCP(patience)
        duration = MonotonicInstant.now().since(started)
    }

    /// Each question has an identifier, and each socket a port, that nobody can know (RFC 5452).
    private static func randomID() -> UInt16 {
        var generator = SystemRandomNumberGenerator()
        return UInt16.random(in: 0 ... .max, using: &generator)
    }

    private mutating func askOverUDP(
        _ patience: Patience
    ) throws(Failure) -> (DNSAnswer, sent: MonotonicInstant, Duration) {
        let id = Self.randomID()
        let (packet, sent): (Datagram, MonotonicInstant)
        do throws(TransportError) {
            (packet, sent) = try exchangeDatagrams(id: id, patience)
        } catch {
            throw .transport(error, .dns)
        }
        if packet.isCut {
            throw .malformed("more than \(DatagramSocket.packetBytesMax) bytes over UDP")
        }
        let end = packet.arrival.instant
        let duration = (end >= sent ? end : packet.arrival.readAt).since(sent)
        return (try read(packet.bytes, id: id), sent, duration)
    }

    /// Sends the question and waits for the packet that answers it.
    private mutating func exchangeDatagrams(
        id: UInt16, _ patience: Patience
    ) throws(TransportError) -> (Datagram, sent: MonotonicInstant) {
        let silence = "no answer from \(resolver)"
        sourceAddress = try DatagramSocket.sourceAddress(towards: resolver)?.host
        // Not connected, so that packets of others are seen and counted. The system picks a random port.
        let socket = try DatagramSocket.udp(resolver.family)
        socket.traffic = traffic
        let sent = try socket.send(question.message(id: id), to: resolver)
        while true {
            // Somebody who always sends is not read for ever.
            try patience.check(during: silence)
            switch try socket.receive() {
            case nil: try socket.wait(until: patience.deadline, patience.interrupt)
            case .report(let report):
                throw TransportError(.refused, "\(silence): \(report)")
            case .packet(let packet):
                let isResolvers =
                    packet.source.map {
                        $0.isSameHost(as: resolver) && $0.port == resolver.port
                    } ?? false
                if isResolvers, question.isAnswered(by: packet.bytes, id: id) {
                    return (packet, sent)
                }
                foreign += 1
            }
        }
    }

    private mutating func askOverTCP(_ patience: Patience) throws(Failure) -> DNSAnswer {
        let id = Self.randomID()
        let connection: Connection
        do throws(TransportError) {
            let started = MonotonicInstant.now()
            connection = try Connection.open(resolver, patience)
            connection.traffic = traffic
            handshake = MonotonicInstant.now().since(started)
        } catch {
            throw .transport(error, .tcp)
        }
        sourceAddress = connection.localAddress?.host
        let message: [UInt8]
        do throws(TransportError) {
            message = try exchange(over: connection, id: id, patience)
        } catch {
            throw .transport(error, .dns)
        }
        guard question.isAnswered(by: message, id: id) else {
            throw .malformed("it answers another question")
        }
        let reply = try read(message, id: id)
        if reply.isTruncated { throw .malformed("truncated over TCP") }
        return reply
    }

    /// Writes the question and reads the answer, each behind its length (RFC 7766, section 8).
    private func exchange(
        over connection: Connection, id: UInt16, _ patience: Patience
    ) throws(TransportError) -> [UInt8] {
        let message = question.message(id: id)
        let length = UInt16(clamping: message.count)
        let framed = [UInt8(length >> 8), UInt8(truncatingIfNeeded: length)] + message
        try connection.write(framed.span, patience)
        var received: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while true {
            if received.count >= 2 {
                let needed = 2 + Int(received[0]) << 8 + Int(received[1])
                if received.count >= needed { return Array(received[2..<needed]) }
            }
            let count = try connection.read(into: &piece, patience)
            if count == 0 {
                throw TransportError(
                    .endedEarly, "\(resolver) closed the connection before its whole answer")
            }
            received += piece[..<count]
        }
    }

    private mutating func read(_ message: [UInt8], id: UInt16) throws(Failure) -> DNSAnswer {
        answerBytes = message.count
        do throws(DNSAnswer.Fault) {
            return try DNSAnswer(message, to: question, id: id)
        } catch {
            throw .malformed(error.description)
        }
    }
}

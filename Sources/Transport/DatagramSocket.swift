internal import Glibc

/// A socket for UDP or for ICMP echo, which tells when packets arrived and what ICMP said of lost ones.
///
/// Never blocks but in ``wait(until:_:)``. Used by one thread at a time. Closed when it goes.
package final class DatagramSocket {
    /// Gets what is sent and received.
    package var traffic: TrafficCounter?

    package enum Kind: String, Sendable {
        case udp
        /// ICMP echo for anybody whom `net.ipv4.ping_group_range` lets (icmp(7)).
        case ping
        /// ICMP for those with `CAP_NET_RAW` (raw(7)).
        case raw
    }

    package let kind: Kind
    package let family: AddressFamily
    let descriptor: Int32
    /// Reused for every packet.
    var buffer = [UInt8](repeating: 0, count: DatagramSocket.packetBytesMax)
    var control = [UInt8](repeating: 0, count: 512)
    /// The clocks when nothing was there to be read.
    var lastEmpty = ClockReading.now()

    /// The largest packet that is received whole.
    package static let packetBytesMax = 4096
    /// How often a packet is offered to the system again that it refused because of an earlier one.
    private static let sendAttemptsMax = 3

    /// A socket of `kind`.
    ///
    /// - Throws: ``TransportError`` when the system has none to give or does not know the family.
    /// - Returns: Nil when this process is not allowed one.
    package static func open(
        _ kind: Kind, _ family: AddressFamily
    ) throws(TransportError) -> DatagramSocket? {
        let type = kind == .raw ? SOCK_RAW : SOCK_DGRAM
        let protocolNumber: Int =
            switch (kind, family) {
            case (.udp, _): Int(IPPROTO_UDP)
            case (_, .ipv4): Int(IPPROTO_ICMP)
            case (_, .ipv6): Int(IPPROTO_ICMPV6)
            }
        let descriptor = socket(
            family == .ipv4 ? AF_INET : AF_INET6,
            Int32(type.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue),
            Int32(protocolNumber))
        guard descriptor >= 0 else {
            if errno == EACCES || errno == EPERM { return nil }
            throw TransportError(errno: errno, "a \(kind.rawValue) socket for \(family.rawValue)")
        }
        return DatagramSocket(adopting: descriptor, kind, family)
    }

    /// A socket for UDP.
    package static func udp(_ family: AddressFamily) throws(TransportError) -> DatagramSocket {
        guard let socket = try open(.udp, family) else {
            throw TransportError(.system, "this process may not use UDP")
        }
        return socket
    }

    private init(adopting descriptor: Int32, _ kind: Kind, _ family: AddressFamily) {
        self.descriptor = descriptor
        self.kind = kind
        self.family = family
        // Both are refined by what the system can do: without stamps arrivals are timed by this process, without
        // reports a loss has no reason.
        setOption(SOL_SOCKET, SO_TIMESTAMPNS, 1)
        switch family {
        case .ipv4: setOption(Int32(IPPROTO_IP), IP_RECVERR, 1)
        case .ipv6: setOption(Int32(IPPROTO_IPV6), IPV6_RECVERR, 1)
        }
        if kind == .raw { receiveOnlyEchoReplies() }
    }

    deinit {
        Glibc.close(descriptor)
    }

    /// Binds to an address of this machine; port 0 takes any free one.
    package func bind(to address: SocketAddress) throws(TransportError) {
        guard unsafe address.withSockAddr({ unsafe Glibc.bind(descriptor, $0, $1) }) == 0 else {
            throw TransportError(errno: errno, "binding to \(address)")
        }
    }

    /// Sends to, and receives from, `address` alone from now on.
    ///
    /// - Throws: ``TransportError/Code/unreachable`` when this machine has no route to it.
    package func connect(to address: SocketAddress) throws(TransportError) {
        guard unsafe address.withSockAddr({ unsafe Glibc.connect(descriptor, $0, $1) }) == 0 else {
            throw Self.sendError(errno, to: address)
        }
    }

    /// This end's address. The port of a ping socket is the identifier in its echo requests.
    package var localAddress: SocketAddress? {
        unsafe SocketAddress.ofSocket(descriptor) { unsafe getsockname($0, $1, $2) }
    }

    /// The address of this machine that packets to `address` leave from; nothing is sent.
    package static func sourceAddress(
        towards address: SocketAddress
    ) throws(TransportError) -> SocketAddress? {
        let socket = try udp(address.family)
        try socket.connect(to: address)
        return socket.localAddress
    }

    /// The hops that packets may take (TTL, hop limit), from 1 to 255.
    package func limitHops(to count: Int32) throws(TransportError) {
        let done =
            switch family {
            case .ipv4: setOption(Int32(IPPROTO_IP), IP_TTL, count)
            case .ipv6: setOption(Int32(IPPROTO_IPV6), IPV6_UNICAST_HOPS, count)
            }
        guard done else { throw TransportError(errno: errno, "limiting hops") }
    }

    /// Hands one packet to the system, to `address` or to the one connected to.
    ///
    /// - Returns: The moment just before the system took it.
    /// - Throws: ``TransportError/Code/unreachable`` when this machine has no way there now, else
    ///   ``TransportError/Code/system``: the machine's firewall, full queues.
    @discardableResult
    package func send(
        _ bytes: [UInt8], to address: SocketAddress? = nil
    ) throws(TransportError) -> MonotonicInstant {
        var failure: Int32 = 0
        for _ in 0..<Self.sendAttemptsMax {
            // What ICMP said of an earlier packet is in the error queue too, and no reason not to send this one.
            clearPendingError()
            let before = MonotonicInstant.now()
            let sent = unsafe bytes.withUnsafeBytes { pointer in
                if let address {
                    unsafe address.withSockAddr {
                        unsafe sendto(
                            descriptor, pointer.baseAddress, pointer.count, Int32(MSG_NOSIGNAL),
                            $0, $1)
                    }
                } else {
                    unsafe Glibc.send(
                        descriptor, pointer.baseAddress, pointer.count, Int32(MSG_NOSIGNAL))
                }
            }
            if sent == bytes.count { return before }
            failure = sent < 0 ? errno : EMSGSIZE
        }
        throw Self.sendError(failure, to: address)
    }

    /// Waits until something may be received, at most until `deadline`, and wakes at it to the microsecond, as the
    /// sending times of trains depend on it.
    ///
    /// - Throws: ``TransportError/Code/interrupted`` once the interrupt is triggered.
    package func wait(
        until deadline: MonotonicInstant, _ interrupt: Interrupt?
    ) throws(TransportError) {
        if interrupt?.isTriggered == true { throw TransportError(.interrupted, "stopped") }
        let left = deadline.since(.now()).wholeNanoseconds
        var polled = [
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
            // A negative descriptor is skipped by poll.
            pollfd(fd: interrupt?.descriptor ?? -1, events: Int16(POLLIN), revents: 0),
        ]
        let ready = unsafe poll(
            &polled, nfds_t(polled.count), Int32(clamping: left / 1_000_000))
        guard ready >= 0 || errno == EINTR else { throw TransportError(errno: errno, "poll") }
        if interrupt?.isTriggered == true { throw TransportError(.interrupted, "stopped") }
        let rest = deadline.since(.now()).wholeNanoseconds
        if ready == 0, rest > 0, rest < 1_000_000 {
            // What poll cannot wait for. A packet that comes meanwhile has the kernel's stamp.
            var pause = timespec(tv_sec: 0, tv_nsec: Int(rest))
            _ = unsafe nanosleep(&pause, nil)
        }
    }

    func clearPendingError() {
        var ignored: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        _ = unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &ignored, &length)
    }

    private static func sendError(_ number: Int32, to address: SocketAddress?) -> TransportError {
        let call = address.map { "sending to \($0.host)" } ?? "sending"
        switch number {
        case EPERM, EACCES:
            return TransportError(
                .system,
                "\(call): \(TransportError.text(ofErrno: number)); see this machine's firewall")
        case ENETUNREACH, EHOSTUNREACH, ENETDOWN, EHOSTDOWN, EADDRNOTAVAIL:
            return TransportError(errno: number, call)
        default:
            return TransportError(.system, "\(call): \(TransportError.text(ofErrno: number))")
        }
    }

    @discardableResult
    private func setOption(_ level: Int32, _ name: Int32, _ value: Int32) -> Bool {
        var value = value
        return unsafe setsockopt(
            descriptor, level, name, &value, socklen_t(MemoryLayout<Int32>.size)) == 0
    }

    /// A raw socket would otherwise get all ICMP of the machine.
    private func receiveOnlyEchoReplies() {
        // Of linux/icmp.h and netinet/icmp6.h: a set bit blocks the type.
        let filterOption: Int32 = 1
        switch family {
        case .ipv4:
            let rawLevel: Int32 = 255
            setOption(rawLevel, filterOption, Int32(bitPattern: ~(1 << 0)))
        case .ipv6:
            var blocked = [UInt32](repeating: ~0, count: 8)
            blocked[129 >> 5] &= ~(1 << (129 & 31))
            let size = socklen_t(blocked.count * MemoryLayout<UInt32>.size)
            _ = unsafe setsockopt(
                descriptor, Int32(IPPROTO_ICMPV6), filterOption, &blocked, size)
        }
    }
}

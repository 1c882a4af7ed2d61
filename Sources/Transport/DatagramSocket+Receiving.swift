internal import Glibc

/// When a packet arrived.
package struct DatagramArrival: Sendable {
    /// When it entered the machine, or was read where that is not known.
    package let instant: MonotonicInstant
    /// When this process read it.
    package let readAt: MonotonicInstant
    /// Whether ``instant`` is the kernel's, so that it has no waiting for a CPU in it.
    package let isKernelTimed: Bool
}

/// A packet that was received.
package struct Datagram: Sendable {
    package let source: SocketAddress?
    /// What is behind the UDP header, or the ICMP message.
    package let bytes: [UInt8]
    /// Whether it was larger than ``DatagramSocket/packetBytesMax`` and its rest is lost.
    package let isCut: Bool
    package let arrival: DatagramArrival
}

extension DatagramSocket {
    package enum Reception: Sendable {
        case packet(Datagram)
        /// What became of a packet that was sent.
        case report(ICMPReport)
    }

    /// What has arrived; nil when there is nothing more now.
    package func receive() throws(TransportError) -> Reception? {
        if let message = try readMessage(Int32(MSG_ERRQUEUE)),
            let report = message.report(family)
        {
            return .report(report)
        }
        guard let message = try readMessage(0) else {
            lastEmpty = .now()
            return nil
        }
        var bytes = buffer[..<message.count]
        if kind == .raw, family == .ipv4 {
            // The IP header comes along; its length is in words of four bytes.
            bytes = bytes.dropFirst(Int(bytes.first ?? 0) % 16 * 4)
        }
        traffic?.add(packets: 1, payloadBytes: bytes.count)
        return .packet(
            Datagram(
                source: message.address, bytes: Array(bytes), isCut: message.isCut,
                arrival: message.arrival))
    }

    /// What `recvmsg` gave beside the bytes in ``buffer``.
    private struct Message {
        let count: Int
        let isCut: Bool
        let address: SocketAddress?
        let extendedError: ExtendedError?
        let quoted: [UInt8]
        let arrival: DatagramArrival

        func report(_ family: AddressFamily) -> ICMPReport? {
            guard let error = extendedError else { return nil }
            return ICMPReport(
                origin: error.origin, family: family, errorNumber: error.number,
                sender: error.sender, destination: address, quoted: quoted, arrival: arrival)
        }
    }

    private struct ExtendedError {
        let number: Int32
        let origin: ICMPReport.Origin
        let sender: SocketAddress?
    }

    /// Reads until something comes or nothing is there.
    private func readMessage(_ flags: Int32) throws(TransportError) -> Message? {
        // An error that was already told by its report is passed over; each call takes one away.
        let attemptsMax = 16
        for _ in 0..<attemptsMax {
            var name = sockaddr_storage()
            var header = unsafe msghdr()
            let nameSize = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let count = unsafe withUnsafeMutableBytes(of: &name) { name in
                unsafe buffer.withUnsafeMutableBytes { bytes in
                    unsafe control.withUnsafeMutableBytes { control in
                        var part = unsafe iovec(
                            iov_base: bytes.baseAddress, iov_len: bytes.count)
                        return unsafe withUnsafeMutablePointer(to: &part) { part in
                            unsafe header.msg_name = name.baseAddress
                            unsafe header.msg_namelen = nameSize
                            unsafe header.msg_iov = part
                            unsafe header.msg_iovlen = 1
                            unsafe header.msg_control = control.baseAddress
                            unsafe header.msg_controllen = control.count
                            return unsafe recvmsg(descriptor, &header, flags)
                        }
                    }
                }
            }
            if count >= 0 {
                let nameLength = unsafe min(header.msg_namelen, nameSize)
                let controlCount = unsafe min(max(0, Int(header.msg_controllen)), control.count)
                let cut = unsafe header.msg_flags & Int32(MSG_TRUNC) != 0
                return message(
                    count: min(count, buffer.count), isCut: cut,
                    address: Self.address(name, nameLength), control[..<controlCount],
                    isReport: flags != 0)
            }
            switch errno {
            case EAGAIN: return nil
            case EBADF, EFAULT, EINVAL, ENOTSOCK, ENOMEM:
                throw TransportError(errno: errno, "receiving")
            default: continue
            }
        }
        return nil
    }

    private func message(
        count: Int, isCut: Bool, address: SocketAddress?, _ control: ArraySlice<UInt8>,
        isReport: Bool
    ) -> Message {
        let now = ClockReading.now()
        var kernelTime: MonotonicInstant?
        var extendedError: ExtendedError?
        for item in ControlMessages(control) {
            switch (item.level, item.type) {
            // SCM_TIMESTAMPNS has the number of the option.
            case (SOL_SOCKET, SO_TIMESTAMPNS):
                kernelTime = item.timestamp.flatMap {
                    now.arrival(stampedAt: $0, after: lastEmpty)
                }
            case (Int32(IPPROTO_IP), IP_RECVERR), (Int32(IPPROTO_IPV6), IPV6_RECVERR):
                extendedError = Self.extendedError(item.data)
            default: break
            }
        }
        return Message(
            count: count, isCut: isCut, address: address, extendedError: extendedError,
            quoted: isReport ? Array(buffer[..<count]) : [],
            arrival: DatagramArrival(
                instant: kernelTime ?? now.monotonic, readAt: now.monotonic,
                isKernelTimed: kernelTime != nil))
    }

    private static func address(_ name: sockaddr_storage, _ length: socklen_t) -> SocketAddress? {
        unsafe withUnsafePointer(to: name) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe SocketAddress($0, length: length)
            }
        }
    }

    /// A `sock_extended_err` and the address of its sender (ip(7)).
    private static func extendedError(_ data: ArraySlice<UInt8>) -> ExtendedError? {
        guard data.count >= 16 else { return nil }
        let fields = Array(data.prefix(16))
        let number = ControlMessages.nativeInteger(data, at: 0, as: Int32.self) ?? 0
        // SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6.
        let isICMP = fields[4] == 2 || fields[4] == 3
        var sender: SocketAddress?
        if isICMP {
            var storage = sockaddr_storage()
            let rest = data.dropFirst(16).prefix(MemoryLayout<sockaddr_storage>.size)
            unsafe withUnsafeMutableBytes(of: &storage) { bytes in
                for (index, byte) in rest.enumerated() { unsafe bytes[index] = byte }
            }
            sender = address(storage, socklen_t(rest.count))
        }
        return ExtendedError(
            number: number, origin: isICMP ? .icmp(type: fields[5], code: fields[6]) : .local,
            sender: sender)
    }
}

/// The control messages of `recvmsg` (cmsg(3)), read without trusting their lengths.
struct ControlMessages: Sequence, IteratorProtocol {
    struct Item {
        let level: Int32
        let type: Int32
        let data: ArraySlice<UInt8>

        /// A `timespec` as nanoseconds.
        var timestamp: Int64? {
            let word = MemoryLayout<Int>.size
            guard let seconds = ControlMessages.nativeInteger(data, at: 0, as: Int.self),
                let rest = ControlMessages.nativeInteger(data, at: word, as: Int.self)
            else { return nil }
            return Int64(seconds) &* 1_000_000_000 &+ Int64(rest)
        }
    }

    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) {
        rest = bytes
    }

    mutating func next() -> Item? {
        let word = MemoryLayout<Int>.size
        // The length, the level and the type.
        let headCount = word + 8
        guard let length = Self.nativeInteger(rest, at: 0, as: Int.self),
            let level = Self.nativeInteger(rest, at: word, as: Int32.self),
            let type = Self.nativeInteger(rest, at: word + 4, as: Int32.self),
            length >= headCount, length <= rest.count
        else { return nil }
        let data = rest.prefix(length).dropFirst(headCount)
        rest = rest.dropFirst((length + word - 1) / word * word)
        return Item(level: level, type: type, data: data)
    }

    /// The integer in the machine's byte order at `offset`; nil beyond the end.
    static func nativeInteger<Number: FixedWidthInteger>(
        _ bytes: ArraySlice<UInt8>, at offset: Int, as: Number.Type
    ) -> Number? {
        let size = MemoryLayout<Number>.size
        let part = bytes.dropFirst(offset).prefix(size)
        guard part.count == size else { return nil }
        var value: Number = 0
        for byte in part.reversed() { value = value << 8 | Number(truncatingIfNeeded: byte) }
        return Number(littleEndian: value)
    }
}

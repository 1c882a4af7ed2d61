internal import Glibc

/// What the kernel knows of a TCP connection (`TCP_INFO`, tcp(7)); absent is what this kernel does not tell.
package struct TCPStatistics: Sendable, Hashable {
    /// The smoothed round-trip time of what this end sent (RFC 6298).
    package let roundTrip: Duration?
    /// The round-trip time as the receiving side sees it, from the window's turnover or from timestamps.
    package let receiverRoundTrip: Duration?
    /// The least round-trip time of the last minutes.
    package let minimumRoundTrip: Duration?
    /// Bytes sent so far, repetitions included.
    package let bytesSent: UInt64?
    /// Bytes of those that were repetitions.
    package let bytesRetransmitted: UInt64?
    /// Bytes received so far, without repetitions.
    package let bytesReceived: UInt64?
    /// Segments sent and received so far, those without data included.
    package let segments: UInt32?
    /// Packets that arrived out of their order: the receiver's sign of loss.
    package let packetsOutOfOrder: UInt32?

    /// Takes the kernel's `struct tcp_info` apart.
    ///
    /// Its layout only ever grows at the end (linux/tcp.h); the system's C library knows but the
    /// beginning of it, so the fields are read by their places.
    init(_ info: [UInt8]) {
        roundTrip = Self.microseconds(info, at: 68)
        receiverRoundTrip = Self.microseconds(info, at: 92)
        minimumRoundTrip = Self.microseconds(info, at: 148)
        bytesSent = Self.integer(info, at: 200)
        bytesRetransmitted = Self.integer(info, at: 208)
        bytesReceived = Self.integer(info, at: 128)
        let sent: UInt32? = Self.integer(info, at: 136)
        let received: UInt32? = Self.integer(info, at: 140)
        segments = sent.flatMap { sent in received.map { sent &+ $0 } }
        packetsOutOfOrder = Self.integer(info, at: 224)
    }

    /// 0 and all ones stand for a time without a sample.
    private static func microseconds(_ info: [UInt8], at offset: Int) -> Duration? {
        guard let value: UInt32 = integer(info, at: offset), value > 0, value < .max else {
            return nil
        }
        return .microseconds(Int64(value))
    }

    private static func integer<Value: FixedWidthInteger>(
        _ info: [UInt8], at offset: Int
    ) -> Value? {
        let size = Value.bitWidth / 8
        guard offset + size <= info.count else { return nil }
        // In the machine's own order, as the kernel wrote it.
        var value: Value = 0
        unsafe withUnsafeMutableBytes(of: &value) { bytes in
            unsafe bytes.copyBytes(from: info[offset..<offset + size])
        }
        return value
    }
}

extension Connection {
    /// The kernel's statistics; nil when it has none.
    package var statistics: TCPStatistics? {
        // Room for fields that later kernels may add; they are cut off by the kernel.
        var info = [UInt8](repeating: 0, count: 512)
        var length = socklen_t(info.count)
        guard unsafe getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_INFO, &info, &length) == 0
        else { return nil }
        return TCPStatistics(Array(info.prefix(Int(length))))
    }

    /// Bytes written that the other end's kernel has not acknowledged; nil when the kernel does not tell.
    package var bytesUnacknowledged: Int? {
        var count: Int32 = 0
        // SIOCOUTQ (tcp(7)) has the number of TIOCOUTQ.
        guard unsafe ioctl(descriptor, UInt(TIOCOUTQ), &count) == 0, count >= 0 else { return nil }
        return Int(count)
    }

    /// Keeps at most about this many bytes waiting in this machine, beyond those on their way.
    ///
    /// Without it, megabytes would wait behind a slow link, and writing would end long before sending.
    package func limitUnsentBytes(to count: Int32) {
        var count = count
        _ = unsafe setsockopt(
            descriptor, Int32(IPPROTO_TCP), TCP_NOTSENT_LOWAT, &count,
            socklen_t(MemoryLayout<Int32>.size))
    }
}

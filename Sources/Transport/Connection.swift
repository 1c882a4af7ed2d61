internal import COpenSSL
internal import Glibc

/// A TCP connection, encrypted after ``startTLS(_:serverName:_:)``; every call has a deadline.
///
/// Used by one thread at a time. Closed when it goes.
@safe package final class Connection {
    let descriptor: Int32
    var session: OpaquePointer?
    /// Gets all that this connection sent and received, when it is closed.
    package var traffic: TrafficCounter?
    /// What a handshake as a client found; nil before one and on a server's side.
    package internal(set) var tlsHandshake: TLSHandshake?
    /// The other end's address.
    package let remoteAddress: SocketAddress

    /// Takes ownership of a connected, non-blocking socket.
    init(adopting descriptor: Int32, remoteAddress: SocketAddress) {
        self.descriptor = descriptor
        self.remoteAddress = remoteAddress
        var on: Int32 = 1
        // A request is written at once: waiting for more of it would only be measured as the server's.
        _ = unsafe setsockopt(
            descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    }

    deinit {
        traffic?.add(statistics)
        if let session = unsafe session { unsafe SSL_free(session) }
        Glibc.close(descriptor)
    }

    /// Connects to `address`.
    ///
    /// - Throws: ``TransportError``: mostly ``TransportError/Code/refused``,
    ///   ``TransportError/Code/unreachable`` or ``TransportError/Code/timedOut``.
    package static func open(
        _ address: SocketAddress, _ patience: Patience
    ) throws(TransportError) -> Connection {
        let family =
            switch address.family {
            case .ipv4: AF_INET
            case .ipv6: AF_INET6
            }
        let type = SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue
        let descriptor = socket(family, Int32(type), 0)
        guard descriptor >= 0 else { throw TransportError(errno: errno, "socket") }
        let connection = Connection(adopting: descriptor, remoteAddress: address)
        let result = unsafe address.withSockAddr { unsafe connect(descriptor, $0, $1) }
        if result == 0 { return connection }
        guard errno == EINPROGRESS || errno == EINTR else {
            throw TransportError(errno: errno, "connecting to \(address)")
        }
        try waitUntilReady(
            descriptor, for: POLLOUT, patience, during: "connecting to \(address)")
        var failure: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &length) == 0 else {
            throw TransportError(errno: errno, "getsockopt")
        }
        guard failure == 0 else {
            throw TransportError(errno: failure, "connecting to \(address)")
        }
        return connection
    }

    /// This end's address.
    package var localAddress: SocketAddress? {
        unsafe SocketAddress.ofSocket(descriptor) { unsafe getsockname($0, $1, $2) }
    }

    /// The kernel's smoothed round-trip time of this connection; nil while it has no sample.
    ///
    /// Right after connecting it is the time from SYN to SYN-ACK as the kernel saw it. There is no
    /// sample when the SYN had to be repeated without timestamps (RFC 6298, section 3).
    package var roundTripTime: Duration? {
        var info = tcp_info()
        var length = socklen_t(MemoryLayout<tcp_info>.size)
        guard
            unsafe getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_INFO, &info, &length) == 0,
            info.tcpi_rtt > 0
        else { return nil }
        return .microseconds(Int64(info.tcpi_rtt))
    }

    /// Writes all of `bytes`.
    package func write(_ bytes: Span<UInt8>, _ patience: Patience) throws(TransportError) {
        var written = 0
        while written < bytes.count {
            try patience.check(during: "writing to \(remoteAddress)")
            let rest = bytes.extracting(written..<bytes.count)
            if unsafe session != nil {
                written += try writeEncrypted(rest, patience)
            } else {
                written += try writePlain(rest, patience)
            }
        }
    }

    /// Reads what has arrived, at most the buffer's size, and waits if there is nothing.
    ///
    /// - Returns: The count of bytes put at the buffer's start, 0 at the stream's end. An encrypted
    ///   stream that ends without TLS's own closing is ``TransportError/Code/endedEarly``.
    package func read(
        into buffer: inout [UInt8], _ patience: Patience
    ) throws(TransportError) -> Int {
        precondition(!buffer.isEmpty, "an empty buffer reads nothing")
        try patience.check(during: "reading from \(remoteAddress)")
        return unsafe session == nil
            ? try readPlain(into: &buffer, patience) : try readEncrypted(into: &buffer, patience)
    }

    /// Says that no more will be written; the other direction stays open.
    package func finishWriting() {
        if let session = unsafe session {
            // Best effort: the alert is sent or it is not.
            unsafe SSL_shutdown(session)
            ERR_clear_error()
        }
        shutdown(descriptor, Int32(SHUT_WR))
    }

    /// Makes the close send a reset instead of an orderly end.
    package func abortOnClose() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        _ = unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
    }

    private func writePlain(
        _ bytes: Span<UInt8>, _ patience: Patience
    ) throws(TransportError) -> Int {
        while true {
            let sent = unsafe bytes.withUnsafeBufferPointer { pointer in
                unsafe send(descriptor, pointer.baseAddress, pointer.count, Int32(MSG_NOSIGNAL))
            }
            if sent >= 0 { return sent }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                try waitUntilReady(
                    descriptor, for: POLLOUT, patience, during: "writing to \(remoteAddress)")
            default: throw TransportError(errno: errno, "writing to \(remoteAddress)")
            }
        }
    }

    private func readPlain(
        into buffer: inout [UInt8], _ patience: Patience
    ) throws(TransportError) -> Int {
        while true {
            let received = unsafe buffer.withUnsafeMutableBytes { pointer in
                unsafe recv(descriptor, pointer.baseAddress, pointer.count, 0)
            }
            if received >= 0 { return received }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                try waitUntilReady(
                    descriptor, for: POLLIN, patience, during: "reading from \(remoteAddress)")
            default: throw TransportError(errno: errno, "reading from \(remoteAddress)")
            }
        }
    }
}

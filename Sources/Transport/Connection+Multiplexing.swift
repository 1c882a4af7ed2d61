internal import COpenSSL
internal import Glibc

/// What came of reading or writing without waiting.
package enum Readiness: Sendable, Equatable {
    /// This many bytes went through, at least one.
    case bytes(Int)
    /// Nothing can be done before the socket is readable.
    case waitsToRead
    /// Nothing can be done before the socket is writable.
    case waitsToWrite
    /// The other end has ended its stream.
    case ended
}

/// A connection that ``ConnectionPoll`` waits for, and why.
package struct Interest: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    package static let reading = Interest(rawValue: 1)
    package static let writing = Interest(rawValue: 2)
}

/// Waits for several connections at once, on one thread.
package enum ConnectionPoll {
    /// Waits until one of the connections is ready for what is wanted of it, has failed, or `limit` has passed.
    ///
    /// - Returns: For each connection, what it is ready for; a failed one is ready for all that was wanted.
    /// - Throws: ``TransportError`` with ``TransportError/Code/interrupted``, or of the system.
    package static func wait(
        for wanted: [(connection: Connection, interest: Interest)], limit: Duration,
        interrupt: Interrupt?
    ) throws(TransportError) -> [Interest] {
        if interrupt?.isTriggered == true {
            throw TransportError(.interrupted, "transferring: stopped")
        }
        var polled = wanted.map { connection, interest in
            let events =
                (interest.contains(.reading) ? POLLIN : 0)
                | (interest.contains(.writing) ? POLLOUT : 0)
            // One that nothing is wanted of is skipped, or its end would wake the thread for ever.
            return pollfd(
                fd: interest.isEmpty ? -1 : connection.descriptor,
                events: Int16(truncatingIfNeeded: events), revents: 0)
        }
        polled.append(pollfd(fd: interrupt?.descriptor ?? -1, events: Int16(POLLIN), revents: 0))
        let milliseconds = Int32(clamping: (limit.wholeNanoseconds &+ 999_999) / 1_000_000)
        let ready = unsafe poll(&polled, nfds_t(polled.count), max(0, milliseconds))
        if ready < 0, errno != EINTR { throw TransportError(errno: errno, "poll") }
        if ready <= 0 { return wanted.map { _ in [] } }
        return zip(wanted, polled).map { wanted, polled in
            let events = Int32(polled.revents)
            if events & ~(POLLIN | POLLOUT) != 0 { return wanted.interest }
            var interest: Interest = []
            if events & POLLIN != 0 { interest.insert(.reading) }
            if events & POLLOUT != 0 { interest.insert(.writing) }
            return interest
        }
    }
}

extension Connection {
    /// Reads what is there, at most the buffer's size, without waiting.
    package func readAvailable(into buffer: inout [UInt8]) throws(TransportError) -> Readiness {
        precondition(!buffer.isEmpty, "an empty buffer reads nothing")
        let what = "reading from \(remoteAddress)"
        guard let session = unsafe session else {
            while true {
                let received = unsafe buffer.withUnsafeMutableBytes { pointer in
                    unsafe recv(descriptor, pointer.baseAddress, pointer.count, 0)
                }
                if received > 0 { return .bytes(received) }
                if received == 0 { return .ended }
                switch errno {
                case EINTR: continue
                case EAGAIN: return .waitsToRead
                default: throw TransportError(errno: errno, what)
                }
            }
        }
        ERR_clear_error()
        var received = 0
        let result = unsafe buffer.withUnsafeMutableBytes { pointer in
            unsafe SSL_read_ex(session, pointer.baseAddress, pointer.count, &received)
        }
        if result == 1 { return .bytes(received) }
        return try readiness(unsafe SSL_get_error(session, result), what)
    }

    /// Whether TLS holds bytes that no poll will tell of.
    package var hasBufferedBytes: Bool {
        guard let session = unsafe session else { return false }
        return unsafe SSL_pending(session) > 0
    }

    /// Writes as much of `bytes` as fits without waiting.
    ///
    /// After ``Readiness/waitsToWrite`` the next call must begin with the same bytes.
    package func writeAvailable(_ bytes: Span<UInt8>) throws(TransportError) -> Readiness {
        precondition(!bytes.isEmpty, "nothing to write")
        let what = "writing to \(remoteAddress)"
        guard let session = unsafe session else {
            while true {
                let sent = unsafe bytes.withUnsafeBufferPointer { pointer in
                    unsafe send(
                        descriptor, pointer.baseAddress, pointer.count, Int32(MSG_NOSIGNAL))
                }
                if sent > 0 { return .bytes(sent) }
                switch errno {
                case EINTR: continue
                case EAGAIN: return .waitsToWrite
                default: throw TransportError(errno: errno, what)
                }
            }
        }
        ERR_clear_error()
        var written = 0
        let result = unsafe bytes.withUnsafeBufferPointer { pointer in
            unsafe SSL_write_ex(session, pointer.baseAddress, pointer.count, &written)
        }
        if result == 1 { return .bytes(written) }
        return try readiness(unsafe SSL_get_error(session, result), what)
    }

    private func readiness(_ failure: Int32, _ what: String) throws(TransportError) -> Readiness {
        switch failure {
        case SSL_ERROR_WANT_READ: return .waitsToRead
        case SSL_ERROR_WANT_WRITE: return .waitsToWrite
        case SSL_ERROR_ZERO_RETURN: return .ended
        default: throw failed(failure, what)
        }
    }
}

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Musl
#endif

/// What to wait for on a connection's socket.
struct SocketInterest: OptionSet {
    let rawValue: Int16
    static let read = SocketInterest(rawValue: Int16(POLLIN))
    static let write = SocketInterest(rawValue: Int16(POLLOUT))
}

/// Waits until `socket` is ready for one of `interest`.
///
/// Errors and hang-ups count as ready for what was asked: the next libpq call names them.
///
/// - Throws: `.timedOut` at `deadline`, `.interrupted` when `interrupt` is triggered.
func waitForSocket(
    _ socket: Int32, _ interest: SocketInterest, until deadline: ContinuousClock.Instant,
    interrupt: PostgresInterrupt?
) throws(PostgresError) -> SocketInterest {
    while true {
        let remaining = deadline - .now
        if remaining <= .zero {
            throw PostgresError(.timedOut, "")
        }
        var descriptors = [pollfd(fd: socket, events: interest.rawValue, revents: 0)]
        if let interrupt {
            descriptors.append(
                pollfd(fd: interrupt.readDescriptor, events: Int16(POLLIN), revents: 0))
        }
        let count = unsafe poll(
            &descriptors, nfds_t(descriptors.count), remaining.pollMilliseconds)
        if count < 0 {
            if errno == EINTR { continue }
            throw PostgresError(.connectionLost, "poll failed: errno \(errno)")
        }
        if interrupt != nil, descriptors[1].revents != 0 {
            throw PostgresError(.interrupted, "")
        }
        let ready = descriptors[0].revents
        if ready & Int16(POLLERR | POLLHUP | POLLNVAL) != 0 { return interest }
        if ready != 0 { return SocketInterest(rawValue: ready) }
    }
}

extension Duration {
    /// Milliseconds rounded up, so that a wait never spins at its end; bounded to an hour.
    fileprivate var pollMilliseconds: Int32 {
        let (seconds, attoseconds) = components
        let longestSeconds: Int64 = 3_600
        if seconds >= longestSeconds { return Int32(longestSeconds * 1_000) }
        let attosecondsPerMillisecond: Int64 = 1_000_000_000_000_000
        return Int32(seconds * 1_000 + attoseconds / attosecondsPerMillisecond + 1)
    }
}

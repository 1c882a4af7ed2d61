internal import Glibc

/// A listening TCP socket.
package final class Listener: Sendable {
    private let descriptor: Int32
    /// Where it listens; the port is the real one, also when any was asked for.
    package let address: SocketAddress

    /// Connections the kernel holds for a busy acceptor.
    private static let backlog: Int32 = 128

    /// Listens at an IP address; port 0 takes any free one.
    package init(host: String, port: UInt16) throws(TransportError) {
        guard let wanted = SocketAddress(literal: host, port: port) else {
            throw TransportError(.invalidConfiguration, "\(host) is not an IP address")
        }
        let family = wanted.family == .ipv4 ? AF_INET : AF_INET6
        let type = SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue
        let descriptor = socket(family, Int32(type), 0)
        guard descriptor >= 0 else { throw TransportError(errno: errno, "socket") }
        var on: Int32 = 1
        _ = unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        guard unsafe wanted.withSockAddr({ unsafe bind(descriptor, $0, $1) }) == 0,
            listen(descriptor, Self.backlog) == 0,
            let bound = unsafe SocketAddress.ofSocket(
                descriptor, { unsafe getsockname($0, $1, $2) })
        else {
            let failure = TransportError(errno: errno, "listening at \(wanted)")
            Glibc.close(descriptor)
            throw failure
        }
        self.descriptor = descriptor
        address = bound
    }

    deinit {
        Glibc.close(descriptor)
    }

    /// Waits for the next connection.
    package func accept(_ patience: Patience) throws(TransportError) -> sending Connection {
        while true {
            try waitUntilReady(descriptor, for: POLLIN, patience, during: "accepting")
            let accepted = Glibc.accept(descriptor, nil, nil)
            if accepted >= 0 {
                _ = fcntl(accepted, F_SETFD, FD_CLOEXEC)
                _ = fcntl(accepted, F_SETFL, O_NONBLOCK)
                guard
                    let peer = unsafe SocketAddress.ofSocket(
                        accepted, { unsafe getpeername($0, $1, $2) })
                else {
                    // It was gone before it could be looked at.
                    Glibc.close(accepted)
                    continue
                }
                return Connection(adopting: accepted, remoteAddress: peer)
            }
            switch errno {
            case EAGAIN, EINTR, ECONNABORTED: continue
            default: throw TransportError(errno: errno, "accepting")
            }
        }
    }
}

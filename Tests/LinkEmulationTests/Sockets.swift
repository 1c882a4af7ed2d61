import Glibc
import OwnedThreads
import Synchronization

@testable import LinkEmulation

struct SocketFailure: Error {
    let call: String
    let number: Int32

    init(_ call: String) {
        self.call = call
        number = errno
    }
}

/// A socket of the namespace of the thread that makes it. Receiving gives up after a while, so that no test hangs.
final class IPSocket: Sendable {
    static let patienceSeconds = 5
    let descriptor: Int32

    /// A socket for datagrams.
    convenience init(datagramsOf family: Int32) throws {
        try self.init(descriptor: socket(family, Int32(SOCK_DGRAM.rawValue), 0))
    }

    init(descriptor: Int32) throws {
        guard descriptor >= 0 else { throw SocketFailure("socket") }
        self.descriptor = descriptor
        var patience = timeval(tv_sec: Self.patienceSeconds, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        // SO_RCVBUFFORCE passes the system's limit: nothing may be lost for want of room.
        var room: Int32 = 64 << 20
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &room, socklen_t(MemoryLayout<Int32>.size))
    }

    deinit {
        close(descriptor)
    }

    func bind(_ host: String, _ port: UInt16) throws {
        let status = withAddress(host, port) { Glibc.bind(descriptor, $0, $1) }
        guard status == 0 else { throw SocketFailure("bind") }
    }

    func connect(_ host: String, _ port: UInt16) throws {
        let status = withAddress(host, port) { Glibc.connect(descriptor, $0, $1) }
        guard status == 0 else { throw SocketFailure("connect") }
    }

    func send(_ bytes: [UInt8]) throws {
        guard
            Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
        else { throw SocketFailure("send") }
    }

    /// What has arrived; nil when nothing does for a while, or without `waiting` when there is nothing now.
    func receive(waiting: Bool = true) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 2048)
        let flags = waiting ? 0 : Int32(MSG_DONTWAIT)
        let count = recv(descriptor, &bytes, bytes.count, flags)
        return count > 0 ? Array(bytes.prefix(count)) : nil
    }

    private func withAddress<Result>(
        _ host: String, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        if host.contains(":") {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            inet_pton(AF_INET6, host, &address.sin6_addr)
            return withSockAddr(of: address, body)
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        inet_pton(AF_INET, host, &address.sin_addr)
        return withSockAddr(of: address, body)
    }

    private func withSockAddr<Address, Result>(
        of address: Address, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<Address>.size))
            }
        }
    }
}

func family(of host: String) -> Int32 { host.contains(":") ? AF_INET6 : AF_INET }

/// Sends every datagram back, on a thread in a namespace, until it is stopped.
final class EchoServer: Sendable {
    static let port: UInt16 = 7
    private let isStopping = Atomic(false)
    private let thread = Mutex<OwnedThread?>(nil)

    init(at end: LinkEnd, host: String) throws {
        let failure = Monitor<Result<Void, any Error>?>(nil)
        let server = try end.namespace.startThread(named: "echo") { [self] in
            LinkEmulation.makeCallingThreadPunctual()
            let outcome = Result {
                let socket = try IPSocket(datagramsOf: family(of: host))
                try socket.bind(host, Self.port)
                return socket
            }
            failure.update { $0 = outcome.map { _ in } }
            guard case .success(let socket) = outcome else { return }
            serve(socket.descriptor)
        }
        thread.withLock { $0 = server }
        try failure.wait(until: nil) { $0 }?.get()
    }

    func stop() {
        isStopping.store(true, ordering: .releasing)
        thread.withLock { $0 }?.join()
    }

    private func serve(_ descriptor: Int32) {
        var bytes = [UInt8](repeating: 0, count: 2048)
        while !isStopping.load(ordering: .acquiring) {
            var source = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&source, 1, 20) > 0 else { continue }
            var from = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            withUnsafeMutablePointer(to: &from) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                    let count = recvfrom(descriptor, &bytes, bytes.count, 0, address, &length)
                    if count > 0 { _ = sendto(descriptor, bytes, count, 0, address, length) }
                }
            }
        }
    }
}

/// The times that echoes took, one after the other, after one that is not counted. Called in the client's namespace.
func roundTrips(_ count: Int, to host: String) throws -> [Duration] {
    LinkEmulation.makeCallingThreadPunctual()
    let socket = try IPSocket(datagramsOf: family(of: host))
    try socket.connect(host, EchoServer.port)
    var times: [Duration] = []
    for number in 0...count {
        let sent = ContinuousClock.now
        try socket.send([UInt8(truncatingIfNeeded: number)])
        guard socket.receive() != nil else { throw SocketFailure("receiving an echo") }
        times.append(sent.duration(to: .now))
    }
    return Array(times.dropFirst())
}

func median(_ times: [Duration]) -> Duration {
    times.sorted()[times.count / 2]
}

internal import Glibc

/// The version of a nats-server.
package struct ServerVersion: Sendable, Comparable, CustomStringConvertible {
    package let major: Int
    package let minor: Int
    package let patch: Int

    package init(major: Int, minor: Int, patch: Int) {
        self.major = major
        self.minor = minor
        self.patch = patch
    }

    /// Reads `2.12.1` and `2.12.1-RC.3`.
    package init?(_ text: some StringProtocol) {
        let release = text.prefix { $0 != "-" }
        let numbers = release.split(separator: ".", omittingEmptySubsequences: false)
            .map { Int($0) }
        guard numbers.count == 3, let major = numbers[0], let minor = numbers[1],
            let patch = numbers[2]
        else { return nil }
        self.init(major: major, minor: minor, patch: patch)
    }

    /// Finds the version in the INFO line that a server greets with (NATS protocol, "INFO").
    init?(greeting: String) {
        let key = "\"version\":\""
        var rest = greeting[...]
        while !rest.isEmpty, !rest.hasPrefix(key) {
            rest.removeFirst()
        }
        self.init(rest.dropFirst(key.count).prefix { $0 != "\"" })
    }

    package static func < (left: ServerVersion, right: ServerVersion) -> Bool {
        (left.major, left.minor, left.patch) < (right.major, right.minor, right.patch)
    }

    package var description: String { "\(major).\(minor).\(patch)" }
}

extension NATSConnection {
    /// Asks the server this connection talks to for its version. Blocks for a second at most.
    ///
    /// libnats does not tell what it read in the greeting, so the greeting is read once more, on
    /// a connection of its own. `nil` when there is no server, or it greets only inside TLS.
    package func serverVersion() -> ServerVersion? {
        guard let url = connectedURL, let (host, port) = hostAndPort(url) else { return nil }
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var addresses: UnsafeMutablePointer<addrinfo>?
        guard unsafe getaddrinfo(host, port, &hints, &addresses) == 0,
            let address = unsafe addresses?.pointee
        else { return nil }
        defer { unsafe freeaddrinfo(addresses) }
        let descriptor = unsafe socket(
            address.ai_family, address.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { Glibc.close(descriptor) }
        var limit = timeval(tv_sec: 1, tv_usec: 0)
        let limitSize = socklen_t(MemoryLayout<timeval>.size)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, limitSize)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, limitSize)
        guard unsafe connect(descriptor, address.ai_addr, address.ai_addrlen) == 0 else {
            return nil
        }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = unsafe recv(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { return nil }
        return ServerVersion(greeting: String(decoding: buffer.prefix(count), as: UTF8.self))
    }

    /// The parts of `nats://host:4222`, with or without brackets around an IPv6 address.
    private func hostAndPort(_ url: String) -> (String, String)? {
        let address = url.split(separator: "/").last ?? ""
        guard let colon = address.lastIndex(of: ":") else { return nil }
        let host = address[..<colon].filter { $0 != "[" && $0 != "]" }
        return (host, String(address[address.index(after: colon)...]))
    }
}

internal import Glibc

/// The family of an IP address.
package enum AddressFamily: String, Sendable, CaseIterable {
    case ipv4
    case ipv6
}

/// An IP address with a port.
package struct SocketAddress: Sendable {
    package let family: AddressFamily
    private let storage: sockaddr_storage

    /// The address in a `sockaddr` of `length` bytes; nil when it is not IPv4 or IPv6.
    init?(_ pointer: UnsafePointer<sockaddr>, length: socklen_t) {
        guard length <= socklen_t(MemoryLayout<sockaddr_storage>.size) else { return nil }
        switch unsafe Int32(pointer.pointee.sa_family) {
        case AF_INET where length >= socklen_t(MemoryLayout<sockaddr_in>.size): family = .ipv4
        case AF_INET6 where length >= socklen_t(MemoryLayout<sockaddr_in6>.size): family = .ipv6
        default: return nil
        }
        var storage = sockaddr_storage()
        unsafe withUnsafeMutableBytes(of: &storage) { bytes in
            unsafe bytes.copyMemory(
                from: UnsafeRawBufferPointer(start: pointer, count: Int(length)))
        }
        self.storage = storage
    }

    /// The address in a text such as `192.0.2.1` or `2001:db8::1`; nil when it is not an IP address.
    package init?(literal text: String, port: UInt16) {
        var hints = unsafe addrinfo()
        unsafe hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard unsafe getaddrinfo(text, String(port), &hints, &list) == 0,
            let first = unsafe list
        else { return nil }
        defer { unsafe freeaddrinfo(first) }
        guard let address = unsafe first.pointee.ai_addr,
            let parsed = unsafe SocketAddress(address, length: first.pointee.ai_addrlen)
        else { return nil }
        self = parsed
    }

    /// The address without the port, as text.
    package var host: String {
        var buffer = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let size = socklen_t(buffer.count)
        let result = unsafe withSockAddr { address, length in
            unsafe getnameinfo(address, length, &buffer, size, nil, 0, NI_NUMERICHOST)
        }
        guard result == 0 else { return "unknown" }
        return String(
            decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The port.
    package var port: UInt16 {
        // Both families keep the port at the same place.
        unsafe withSockAddr { address, _ in
            unsafe address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                unsafe UInt16(bigEndian: $0.pointee.sin_port)
            }
        }
    }

    /// Calls `body` with the address in the system's form.
    func withSockAddr<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        let length =
            switch family {
            case .ipv4: MemoryLayout<sockaddr_in>.size
            case .ipv6: MemoryLayout<sockaddr_in6>.size
            }
        return unsafe withUnsafePointer(to: storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe body($0, socklen_t(length))
            }
        }
    }

    /// The address that `read`, `getsockname` or `getpeername`, gives for a socket.
    static func ofSocket(
        _ descriptor: Int32,
        _ read: (Int32, UnsafeMutablePointer<sockaddr>?, UnsafeMutablePointer<socklen_t>?) -> Int32
    ) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                guard unsafe read(descriptor, address, &length) == 0 else { return nil }
                return unsafe SocketAddress(address, length: length)
            }
        }
    }
}

extension SocketAddress: CustomStringConvertible {
    package var description: String {
        switch family {
        case .ipv4: "\(host):\(port)"
        case .ipv6: "[\(host)]:\(port)"
        }
    }
}

internal import NIOCore
internal import Synchronization

/// How many connections each address has, and the bound of it.
///
/// An IPv6 address counts with its /64: one customer has all of it (RFC 6177).
final class AddressBounds: Sendable {
    private let connectionsMax: Int
    private let counts = Mutex<[Address: Int]>([:])

    /// The part of an address that one party holds.
    struct Address: Hashable, Sendable {
        private let bits: UInt64
        private let isV6: Bool

        /// Nil for what is no internet address.
        init?(_ address: SocketAddress?) {
            guard let address else { return nil }
            let bytes = address.withSockAddr { start, byteCount in
                Array(UnsafeRawBufferPointer(start: start, count: byteCount))
            }
            // Where struct sockaddr_in and sockaddr_in6 have it.
            switch address {
            case .v4: bits = bytes.dropFirst(4).prefix(4).reduce(0) { $0 << 8 | UInt64($1) }
            case .v6: bits = bytes.dropFirst(8).prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
            default: return nil
            }
            isV6 = bytes.count > 16
        }
    }

    init(connectionsMax: Int) {
        self.connectionsMax = connectionsMax
    }

    /// Counts a connection, or returns false at the bound.
    func add(_ address: Address) -> Bool {
        counts.withLock { counts in
            let count = counts[address] ?? 0
            guard count < connectionsMax else { return false }
            counts[address] = count + 1
            return true
        }
    }

    func remove(_ address: Address) {
        counts.withLock { counts in
            let count = counts[address] ?? 0
            counts[address] = count > 1 ? count - 1 : nil
        }
    }
}

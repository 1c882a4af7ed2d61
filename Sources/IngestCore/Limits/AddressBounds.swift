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

        /// Nil for what is no internet address.
        init?(_ address: SocketAddress?) {
            switch address {
            case .v4(let address):
                bits = UInt64(UInt32(bigEndian: address.address.sin_addr.s_addr))
            case .v6(let address):
                let bytes = withUnsafeBytes(of: address.address.sin6_addr) { Array($0.prefix(8)) }
                bits = bytes.reduce(0) { $0 << 8 | UInt64($1) } | 1 << 63
            default: return nil
            }
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

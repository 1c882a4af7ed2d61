internal import Synchronization

/// What all connections together hold, and the bounds of it.
final class IntakeBounds: Sendable {
    private let connectionsMax: Int
    private let bytesMax: Int
    private let connections = Atomic(0)
    private let bytes = Atomic(0)

    init(connectionsMax: Int, bytesMax: Int) {
        self.connectionsMax = connectionsMax
        self.bytesMax = bytesMax
    }

    var connectionCount: Int { connections.load(ordering: .relaxed) }
    /// Bytes of bodies that are being received or wait for their acknowledgement.
    var byteCount: Int { bytes.load(ordering: .relaxed) }

    /// Counts a connection, or returns false at the bound.
    func addConnection() -> Bool {
        guard connections.add(1, ordering: .relaxed).newValue > connectionsMax else { return true }
        connections.subtract(1, ordering: .relaxed)
        return false
    }

    func removeConnection() {
        connections.subtract(1, ordering: .relaxed)
    }

    /// Counts bytes, or returns false at the bound.
    func addBytes(_ count: Int) -> Bool {
        guard bytes.add(count, ordering: .relaxed).newValue > bytesMax else { return true }
        bytes.subtract(count, ordering: .relaxed)
        return false
    }

    func removeBytes(_ count: Int) {
        bytes.subtract(count, ordering: .relaxed)
    }
}

internal import Synchronization

/// Adds up what connections and packets cost the network, both ways.
package final class TrafficCounter: Sendable {
    private let bytes = Atomic<Int>(0)

    /// IP and TCP without options but timestamps (RFC 7323): 20 and 32 bytes; IPv6 takes 20 more.
    static let segmentHeadBytes = 52
    /// IP and UDP or ICMP: 20 and 8 bytes; IPv6 takes 20 more.
    private static let packetHeadBytes = 28

    package init() {}

    /// What was added so far, bytes.
    package var total: Int { bytes.load(ordering: .relaxed) }

    /// Adds packets with `payloadBytes` each.
    package func add(packets: Int, payloadBytes: Int) {
        bytes.wrappingAdd(
            packets &* (payloadBytes &+ Self.packetHeadBytes), ordering: .relaxed)
    }

    /// Adds all that a connection sent and received, if the kernel tells.
    func add(_ statistics: TCPStatistics?) {
        guard let bytes = statistics?.trafficBytes else { return }
        self.bytes.wrappingAdd(bytes, ordering: .relaxed)
    }
}

extension TCPStatistics {
    fileprivate var trafficBytes: Int? {
        guard let bytesSent, let bytesReceived, let segments else { return nil }
        return Int(clamping: bytesSent &+ bytesReceived) &+ Int(segments)
            &* TrafficCounter.segmentHeadBytes
    }
}

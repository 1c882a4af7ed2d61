internal import ServiceKit
package import Transport

/// A host that answers echo requests: `icmp://192.0.2.1`, or `udp://192.0.2.1:7` (RFC 862).
package struct EchoTarget: Sendable, Hashable {
    package enum Carrier: Sendable, Hashable {
        case icmp
        case udp(port: UInt16)
    }

    package let host: Endpoint
    package let carrier: Carrier
    /// Only addresses of this family are tried; nil for both.
    package let family: AddressFamily?
    package let train: EchoTrain

    init(_ text: inout TargetText) throws(TargetRefusal) {
        host = try text.endpointAlone()
        if text.scheme == "udp" {
            guard let port = host.port else {
                throw TargetRefusal(text.address, "has no port; write udp://host:port")
            }
            carrier = .udp(port: port)
        } else {
            guard host.port == nil else {
                throw TargetRefusal(text.address, "has a port, which ICMP does not know")
            }
            carrier = .icmp
        }
        family = try text.takeFamily(of: host)
        train = try EchoTrain(&text)
    }
}

/// How many echo requests are sent, and when.
package struct EchoTrain: Sendable, Hashable {
    /// When the packets of a train are sent.
    package enum Spacing: String, Sendable, CaseIterable {
        /// Exponentially distributed gaps (RFC 2330, section 11.1.1), so that nothing periodic hides between packets.
        case poisson
        /// Even gaps (RFC 3432), as `ping` sends.
        case periodic
    }

    /// Echo requests in a train.
    package var count = 10
    package var spacing = Spacing.poisson
    /// The gap between two requests; the mean of Poisson spacing.
    package var gap = Duration.milliseconds(100)
    /// How long after its request an answer counts (RFC 2680, section 2.8.2); a later one is as good as none.
    package var patience = Duration.seconds(2)
    /// Bytes behind the ICMP or UDP header; `ping` sends 56.
    package var payloadBytes = 56

    /// The longest that a train may be planned to take.
    private static let lengthMax = Duration.seconds(600)

    package init() {}

    init(_ text: inout TargetText) throws(TargetRefusal) {
        count = try text.takeInteger("count", in: 1...1000) ?? count
        spacing = try text.takeChoice("spacing", of: Spacing.self) ?? spacing
        gap = try text.takeDuration("gap", in: .milliseconds(1)...(.seconds(10))) ?? gap
        patience =
            try text.takeDuration("wait", in: .milliseconds(10)...(.seconds(60))) ?? patience
        payloadBytes = try text.takeInteger("size", in: 24...1400) ?? payloadBytes
        guard gap * (count - 1) + patience <= Self.lengthMax else {
            let most = UnitText.text(of: Self.lengthMax)
            throw TargetRefusal(
                text.address, "has a train longer than \(most): lower count, gap or wait")
        }
    }
}

/// The default gateway: `first-hop`.
package struct FirstHopTarget: Sendable, Hashable {
    package let train: EchoTrain
    /// An address behind the gateway, which packets of one hop are sent towards; nil for one that nobody has.
    package let towards: String?

    init(_ text: inout TargetText) throws(TargetRefusal) {
        towards = text.take("towards")
        if let towards, SocketAddress(literal: towards, port: 0) == nil {
            throw text.refusal("towards", "an IP address")
        }
        train = try EchoTrain(&text)
    }
}

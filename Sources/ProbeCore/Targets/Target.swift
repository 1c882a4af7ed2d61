package import Telemetry

/// Something to measure, and how.
///
/// Written as one text: an address, then options as `name=value` between spaces, in which `%20` stands for
/// a space and `%2C` for a comma. The address alone is the target's name in events unless `name=` gives another.
package struct Target: Sendable, Hashable {
    /// How a target is measured, by the scheme of its address.
    package enum Method: Sendable, Hashable {
        /// `http`, `https`: one GET over a fresh connection.
        case http(HTTPTarget)
        /// `dns`: one question to a named resolver.
        case dns(DNSTarget)
        /// `tcp`: one handshake.
        case tcp(TCPTarget)
        /// `icmp`, `udp`: a train of echo requests.
        case echo(EchoTarget)
        /// `first-hop`: a train of echo requests to the default gateway.
        case firstHop(FirstHopTarget)
        /// `download+http`, `upload+https` and so on: a transfer over several connections.
        case transfer(TransferTarget)
        /// `loaded+http`, `loaded+https`: round trips while a transfer runs.
        case loaded(LoadedTarget)
    }

    /// What events carry.
    package let name: Name
    package let method: Method
    /// The time between two measurements; nil for the probe's own.
    package let interval: Duration?
    /// The longest that one measurement may take, of a train of packets its lookup; nil for the probe's own.
    package let timeout: Duration?
    /// How its measurements lie in time; nil for the probe's own.
    package let spacing: Schedule.Spacing?

    /// What this probe can measure, by scheme.
    package static let schemes = [
        "http", "https", "dns", "tcp", "icmp", "udp", "first-hop", "download+http",
        "download+https",
        "upload+http", "upload+https", "loaded+http", "loaded+https",
    ]

    /// A target from its text.
    ///
    /// - Throws: ``TargetRefusal`` that says what is wrong with the text.
    package init(_ text: String) throws(TargetRefusal) {
        var text = try TargetText(text)
        interval = try text.takeDuration("interval", in: .milliseconds(100)...(.seconds(86_400)))
        timeout = try text.takeDuration("timeout", in: .milliseconds(10)...(.seconds(600)))
        spacing = try text.takeChoice("schedule", of: Schedule.Spacing.self)
        let name = text.take("name") ?? text.address
        guard (1...EventLimits.targetBytesMax).contains(name.utf8.count),
            name.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
        else {
            let most = EventLimits.targetBytesMax
            throw TargetRefusal(text.address, "needs a name of 1 to \(most) printable bytes")
        }
        self.name = Name(name)
        method =
            switch text.scheme {
            case "http", "https": .http(try HTTPTarget(&text))
            case "dns": .dns(try DNSTarget(&text))
            case "tcp": .tcp(try TCPTarget(&text))
            case "icmp", "udp": .echo(try EchoTarget(&text))
            case "first-hop": .firstHop(try FirstHopTarget(&text))
            case "download+http", "download+https", "upload+http", "upload+https":
                .transfer(try TransferTarget(&text))
            case "loaded+http", "loaded+https": .loaded(try LoadedTarget(&text))
            default:
                throw TargetRefusal(
                    text.address,
                    "has no known scheme; write http, https, dns, tcp, icmp, udp, download+https,"
                        + " upload+https, loaded+https (or …+http) before ://, or first-hop")
            }
        try text.finish()
    }
}

/// Why a text is not a target.
package struct TargetRefusal: Error, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ what: String, _ why: String) {
        description = "\(what) \(why)"
    }
}

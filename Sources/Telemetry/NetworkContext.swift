/// What a probe knows about the network it measures from; nil where it knows nothing.
package struct NetworkContext: Hashable, Sendable {
    /// The address the measurement left from, as text.
    package var sourceIP: Name?
    /// For example `wifi`, `ethernet`, `cellular`.
    package var networkType: Name?
    package var isp: Name?
    /// The autonomous system's number, 0 to 4,294,967,295 (RFC 6793).
    package var asn: UInt32?
    package var region: Name?
    /// The address of the DNS resolver in use, as text.
    package var resolver: Name?

    package init(
        sourceIP: Name? = nil, networkType: Name? = nil, isp: Name? = nil, asn: UInt32? = nil,
        region: Name? = nil, resolver: Name? = nil
    ) {
        self.sourceIP = sourceIP
        self.networkType = networkType
        self.isp = isp
        self.asn = asn
        self.region = region
        self.resolver = resolver
    }

    /// Whether nothing is known.
    package var isEmpty: Bool { self == NetworkContext() }
}

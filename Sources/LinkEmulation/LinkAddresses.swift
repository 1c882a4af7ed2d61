/// The addresses of a link's two ends, in both families.
///
/// They come from 198.18.0.0/15, which RFC 2544 reserves for tests of network devices, and from 2001:db8::/32, which
/// RFC 3849 reserves for documentation: neither is in use anywhere. (A unique local address would be put behind IPv4
/// by RFC 6724, unlike the addresses that are being stood in for.)
package struct LinkAddresses: Sendable, Equatable {
    /// How many links can have addresses that do not overlap.
    package static let linkCount = 1 << 15
    static let prefixLengthIPv4 = 30
    static let prefixLengthIPv6 = 64

    package let ipv4OfA: String
    package let ipv4OfB: String
    package let ipv6OfA: String
    package let ipv6OfB: String

    /// The addresses of link number `number`, in 0 ..< ``linkCount``. Links that share a namespace, or are reached by
    /// way of one, need different numbers.
    package init(number: Int) {
        precondition((0..<Self.linkCount).contains(number), "there is no link number \(number)")
        func ipv4(_ host: Int) -> String {
            let offset = number * 4 + host
            return "198.\(18 + offset >> 16).\(offset >> 8 & 0xff).\(offset & 0xff)"
        }
        let network = String(number, radix: 16)
        ipv4OfA = ipv4(1)
        ipv4OfB = ipv4(2)
        ipv6OfA = "2001:db8:0:\(network)::1"
        ipv6OfB = "2001:db8:0:\(network)::2"
    }
}

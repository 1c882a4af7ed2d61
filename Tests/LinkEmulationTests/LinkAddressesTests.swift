import Testing

@testable import LinkEmulation

@Suite struct LinkAddressesTests {
    @Test(arguments: [
        (0, "198.18.0.1", "198.18.0.2", "2001:db8:0:0::1"),
        (63, "198.18.0.253", "198.18.0.254", "2001:db8:0:3f::1"),
        (16_384, "198.19.0.1", "198.19.0.2", "2001:db8:0:4000::1"),
        (32_767, "198.19.255.253", "198.19.255.254", "2001:db8:0:7fff::1"),
    ])
    func `links have networks of their own`(number: Int, a: String, b: String, ipv6: String) {
        let addresses = LinkAddresses(number: number)
        #expect(addresses.ipv4OfA == a)
        #expect(addresses.ipv4OfB == b)
        #expect(addresses.ipv6OfA == ipv6)
        #expect(addresses.ipv6OfB == ipv6.dropLast() + "2")
    }
}

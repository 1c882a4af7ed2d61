import Testing
import Transport

@testable import ProbeCore

@Suite struct DefaultRouteTests {
    private let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n"

    @Test func `the default route of lowest metric is taken`() throws {
        let text =
            head + """
                wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
                eth0\t00000000\tFE00A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
                eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
                """
        let route = try #require(DefaultRoute.ofIPv4(text))
        #expect(route.gateway?.host == "192.168.0.254")
        #expect(route.interface == "eth0")
    }

    @Test func `a route to an interface alone has no gateway`() throws {
        let text = head + "ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n"
        let route = try #require(DefaultRoute.ofIPv4(text))
        #expect(route.gateway == nil)
        #expect(route.interface == "ppp0")
    }

    @Test(arguments: [
        "", "eth0", "eth0\t00000000\n",
        // Down, rejecting, half of all addresses, not hexadecimal.
        "eth0\t00000000\t0101A8C0\t0002\t0\t0\t0\t00000000\t0\t0\t0\n",
        "eth0\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n",
        "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\n",
        "eth0\t00000000\t0101A8CX\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
        "eth0\t00000000\t0101A8C0\t0003\t0\t0\t99999999999999\t00000000\t0\t0\t0\n",
    ])
    func `what is no usable default route is none`(lines: String) {
        #expect(DefaultRoute.ofIPv4(head + lines) == nil)
        #expect(DefaultRoute.ofIPv6(lines) == nil)
    }

    @Test func `the default route of IPv6 is found among others`() throws {
        let zero = String(repeating: "0", count: 32)
        let text = """
            fd000000000000000000000000000000 40 \(zero) 00 \(zero) 00000100 00000001 00000000 00000001     eth0
            \(zero) 00 \(zero) 00 fe800000000000000000000000000001 00000400 00000002 00000000 00000003       lo
            \(zero) 00 \(zero) 00 \(zero) ffffffff 00000001 00000000 00200200     eth1
            \(zero) 00 \(zero) 00 fd000000000000000000000000000001 00000800 00000002 00000000 00000003     eth0
            """
        let route = try #require(DefaultRoute.ofIPv6(text))
        #expect(route.gateway?.host == "fd00::1")
        #expect(route.interface == "eth0")
    }

    @Test func `a link-local gateway of IPv6 comes with its interface`() throws {
        let zero = String(repeating: "0", count: 32)
        // Only an interface that exists has a scope, and this one exists everywhere.
        let line = "\(zero) 00 \(zero) 00 fe800000000000000000000000000001 00000400 0 0 00000003 "
        #expect(DefaultRoute.ofIPv6(line + "nowhere0") == nil)
        #expect(DefaultRoute.ofIPv6(line + "lo") == nil, "the loopback leads nowhere")
        if let name = existingInterface {
            #expect(DefaultRoute.ofIPv6(line + name)?.gateway?.host == "fe80::1%\(name)")
        }
    }

    private var existingInterface: String? {
        let known = try? SmallFile.read("/proc/net/dev", bytesMax: 1 << 20)
        return known?.split(separator: "\n").compactMap { line in
            line.contains(":") ? line.split(separator: ":").first : nil
        }.map { String($0.drop { $0 == " " }) }.first { $0 != "lo" }
    }
}

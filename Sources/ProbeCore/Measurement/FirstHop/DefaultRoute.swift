package import Transport

/// The way out of this machine's own network.
package struct DefaultRoute: Sendable {
    package let family: AddressFamily
    /// With its interface where the address is link-local; nil where the interface leads to one host alone.
    package let gateway: SocketAddress?
    package let interface: String

    /// A machine with more routes than this is a router.
    private static let fileBytesMax = 1 << 20

    /// The default route of the calling thread's network namespace: that of IPv4, else of IPv6; nil without either.
    static func current() throws(FileProblem) -> DefaultRoute? {
        let folder = "/proc/thread-self/net"
        let ipv4 = try SmallFile.read("\(folder)/route", bytesMax: fileBytesMax)
        if let route = ofIPv4(ipv4) { return route }
        do throws(FileProblem) {
            return ofIPv6(try SmallFile.read("\(folder)/ipv6_route", bytesMax: fileBytesMax))
        } catch {
            // A kernel without IPv6 has no such file.
            if error.errorNumber != nil { return nil }
            throw error
        }
    }

    /// The default route of lowest metric in the format of `/proc/net/route` (proc(5)).
    static func ofIPv4(_ text: String) -> DefaultRoute? {
        best(of: text) { columns in
            guard columns.count >= 8, let flags = UInt32(columns[3], radix: 16),
                columns[1] == "00000000", columns[7] == "00000000",
                let metric = UInt32(columns[6]), isUsable(flags)
            else { return nil }
            var gateway: SocketAddress?
            if flags & gatewayFlag != 0 {
                // The word is printed as the machine holds it, and holds the address in network order.
                guard let word = UInt32(columns[2], radix: 16),
                    let address = SocketAddress(
                        bytes: [24, 16, 8, 0].map {
                            UInt8(truncatingIfNeeded: word.bigEndian >> $0)
                        }, port: 0)
                else { return nil }
                gateway = address
            }
            return (
                metric,
                DefaultRoute(family: .ipv4, gateway: gateway, interface: String(columns[0]))
            )
        }
    }

    /// The default route of lowest metric in the format of `/proc/net/ipv6_route`.
    static func ofIPv6(_ text: String) -> DefaultRoute? {
        best(of: text) { columns in
            guard columns.count >= 10, let flags = UInt32(columns[8], radix: 16),
                columns[0].allSatisfy({ $0 == "0" }), columns[1] == "00",
                let metric = UInt32(columns[5], radix: 16), isUsable(flags),
                columns[9] != "lo"
            else { return nil }
            let interface = String(columns[9])
            var gateway: SocketAddress?
            if flags & gatewayFlag != 0 {
                guard let bytes = bytes(ofHex: columns[4]) else { return nil }
                // fe80::/10 (RFC 4291, section 2.5.6).
                let isLinkLocal = bytes.count == 16 && bytes[0] == 0xFE && bytes[1] & 0xC0 == 0x80
                guard
                    let address = SocketAddress(
                        bytes: bytes, port: 0, scope: isLinkLocal ? interface : nil)
                else { return nil }
                gateway = address
            }
            return (metric, DefaultRoute(family: .ipv6, gateway: gateway, interface: interface))
        }
    }

    // Of linux/route.h.
    private static let upFlag: UInt32 = 0x1
    private static let gatewayFlag: UInt32 = 0x2
    private static let rejectFlag: UInt32 = 0x200

    private static func isUsable(_ flags: UInt32) -> Bool {
        flags & upFlag != 0 && flags & rejectFlag == 0
    }

    private static func best(
        of text: String, _ read: ([Substring]) -> (metric: UInt32, route: DefaultRoute)?
    ) -> DefaultRoute? {
        var best: (metric: UInt32, route: DefaultRoute)?
        for line in text.split(separator: "\n") {
            let columns = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard let found = read(columns) else { continue }
            if best.map({ found.metric < $0.metric }) ?? true { best = found }
        }
        return best?.route
    }

    private static func bytes(ofHex text: Substring) -> [UInt8]? {
        let digits = Array(text)
        guard digits.count == 32 else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let byte = UInt8(String(digits[index...index + 1]), radix: 16) else { return nil }
            bytes.append(byte)
        }
        return bytes
    }
}

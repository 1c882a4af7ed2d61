internal import Glibc

/// An address with the length of its network's prefix, such as `198.18.0.1/30`.
struct AddressPrefix: CustomStringConvertible {
    let family: UInt8
    /// In the network's order: 4 or 16 bytes.
    let address: [UInt8]
    let length: UInt8
    let description: String

    init(_ text: String) throws {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let length = UInt8(parts[1]) else {
            throw LinkEmulationError.invalid(what: "an address with a prefix length", text: text)
        }
        let isIPv6 = parts[0].contains(":")
        var bytes = [UInt8](repeating: 0, count: isIPv6 ? 16 : 4)
        let family = isIPv6 ? AF_INET6 : AF_INET
        guard unsafe inet_pton(family, String(parts[0]), &bytes) == 1, length <= bytes.count * 8
        else {
            throw LinkEmulationError.invalid(what: "an address with a prefix length", text: text)
        }
        self.family = UInt8(family)
        address = bytes
        self.length = length
        description = text
    }
}

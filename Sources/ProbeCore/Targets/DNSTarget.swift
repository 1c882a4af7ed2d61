package import Transport

/// A question to a named resolver, in the form of RFC 4501: `dns://192.0.2.53/example.com?type=AAAA`.
package struct DNSTarget: Sendable, Hashable {
    /// The types that can be asked for.
    package enum RecordType: String, Sendable, CaseIterable {
        case a = "A"
        case aaaa = "AAAA"
        case cname = "CNAME"
        case mx = "MX"
        case ns = "NS"
        case ptr = "PTR"
        case soa = "SOA"
        case srv = "SRV"
        case txt = "TXT"

        /// The type's number (RFC 1035, section 3.2.2; RFC 3596; RFC 2782).
        package var number: UInt16 {
            switch self {
            case .a: 1
            case .ns: 2
            case .cname: 5
            case .soa: 6
            case .ptr: 12
            case .mx: 15
            case .txt: 16
            case .aaaa: 28
            case .srv: 33
            }
        }
    }

    /// How the question travels.
    package enum Carrier: String, Sendable, CaseIterable {
        /// UDP, and TCP when the answer was truncated (RFC 7766).
        case udp
        case tcp
    }

    /// The resolver; its port is 53 unless given.
    package let resolver: Endpoint
    package let name: DNSName
    package let recordType: RecordType
    package let carrier: Carrier
    /// The good response code.
    package let expectedCode: DNSResponseCode

    package static let defaultPort: UInt16 = 53

    init(_ text: inout TargetText) throws(TargetRefusal) {
        let rest = text.rest ?? ""
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        resolver = try Endpoint(authority, of: text.address)
        let path = rest[authority.endIndex...].drop { $0 == "/" }
        let name = path.prefix { $0 != "?" }
        guard !name.isEmpty else {
            throw TargetRefusal(
                text.address, "names nothing to ask for; write dns://192.0.2.53/example.com?type=A")
        }
        let isText = name.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        guard isText, let wireName = DNSName(name) else {
            throw TargetRefusal(
                text.address,
                "asks for what is no domain name: labels of 1 to 63 ASCII characters between dots")
        }
        self.name = wireName
        var type = RecordType.a
        for item in path[name.endIndex...].dropFirst().split(whereSeparator: { ";&".contains($0) })
        {
            switch item.lowercased() {
            case "class=in": continue
            case let word where word.hasPrefix("type="):
                guard let known = RecordType(rawValue: word.dropFirst(5).uppercased()) else {
                    let words = RecordType.allCases.map(\.rawValue).joined(separator: ", ")
                    throw TargetRefusal(text.address, "asks for a type that is not one of \(words)")
                }
                type = known
            default:
                throw TargetRefusal(text.address, "has '\(item)' where only type=… can stand")
            }
        }
        recordType = type
        carrier = try text.takeChoice("carrier", of: Carrier.self) ?? .udp
        guard let mnemonic = text.take("expect-rcode") else {
            expectedCode = .noError
            return
        }
        guard let code = DNSResponseCode(mnemonic: mnemonic) else {
            let words = DNSResponseCode.known.joined(separator: ", ")
            throw text.refusal("expect-rcode", "one of \(words)")
        }
        expectedCode = code
    }
}

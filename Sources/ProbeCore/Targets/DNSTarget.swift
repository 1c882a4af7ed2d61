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
    }

    /// How the question travels.
    package enum Carrier: String, Sendable, CaseIterable {
        /// UDP, and TCP when the answer was truncated (RFC 7766).
        case udp
        case tcp
    }

    /// The resolver; its port is 53 unless given.
    package let resolver: Endpoint
    package let question: String
    package let recordType: RecordType
    package let carrier: Carrier
    /// The good response code, by its mnemonic (RFC 6895); nil for NOERROR.
    package let expectedCode: String?

    package static let defaultPort: UInt16 = 53

    init(_ text: inout TargetText) throws(TargetRefusal) {
        let rest = text.rest ?? ""
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        resolver = try Endpoint(authority, of: text.address)
        let path = rest[authority.endIndex...].drop { $0 == "/" }
        let name = path.prefix { $0 != "?" }
        let isName = name.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        guard !name.isEmpty, name.utf8.count <= 254, isName else {
            throw TargetRefusal(
                text.address, "names nothing to ask for; write dns://192.0.2.53/example.com?type=A")
        }
        question = name.lowercased()
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
        expectedCode = text.take("expect-rcode")?.uppercased()
    }
}

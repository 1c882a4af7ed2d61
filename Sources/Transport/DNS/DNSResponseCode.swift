/// What a name server says became of a question (RFC 6895, section 2.3).
package struct DNSResponseCode: Sendable, Hashable, CustomStringConvertible {
    /// With the upper bits of EDNS.
    package let number: UInt16

    package static let noError = DNSResponseCode(number: 0)
    private static let mnemonics: [UInt16: String] = [
        0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED",
        6: "YXDOMAIN", 7: "YXRRSET", 8: "NXRRSET", 9: "NOTAUTH", 10: "NOTZONE", 16: "BADVERS",
    ]
    /// The codes of servers that may not even repeat the question: they did not understand or did not want it.
    private static let unread: Set<UInt16> = [1, 2, 4, 5]

    package init(number: UInt16) {
        self.number = number
    }

    /// The code of a mnemonic such as `NXDOMAIN`, in any case; nil for an unknown one.
    package init?(mnemonic: String) {
        let wanted = mnemonic.uppercased()
        guard let known = Self.mnemonics.first(where: { $0.value == wanted }) else { return nil }
        number = known.key
    }

    /// The mnemonics, in the order of their numbers.
    package static var known: [String] { mnemonics.sorted { $0.key < $1.key }.map(\.value) }

    var comesWithoutQuestion: Bool { Self.unread.contains(number) }

    package var description: String { Self.mnemonics[number] ?? "RCODE\(number)" }
}

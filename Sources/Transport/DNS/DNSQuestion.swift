/// A question to a resolver, of the class IN.
package struct DNSQuestion: Sendable, Hashable {
    package let name: DNSName
    /// The record type's number (RFC 1035, section 3.2.2).
    package let type: UInt16

    static let internetClass: UInt16 = 1
    /// The pseudo-record of EDNS (RFC 6891, section 6.1).
    static let optType: UInt16 = 41
    /// The largest answer over UDP that is asked for: no IPv6 path has to fragment it (DNS flag day 2020).
    package static let answerBytesMax: UInt16 = 1232

    package init(name: DNSName, type: UInt16) {
        self.name = name
        self.type = type
    }

    /// The message that asks, with EDNS, for recursion, and whether the answer was validated (RFC 6840, section 5.7).
    package func message(id: UInt16) -> [UInt8] {
        var bytes: [UInt8] = []
        func append(_ value: UInt16) {
            bytes.append(UInt8(truncatingIfNeeded: value >> 8))
            bytes.append(UInt8(truncatingIfNeeded: value))
        }
        append(id)
        append(DNSHeader.recursionDesired | DNSHeader.authenticData)
        // One question, no answers, no authorities, one additional record.
        for count: UInt16 in [1, 0, 0, 1] { append(count) }
        bytes += name.wire
        append(type)
        append(Self.internetClass)
        // The root's OPT record: the size in place of the class, no extended code, version 0, no flags, no options.
        bytes.append(0)
        append(Self.optType)
        append(Self.answerBytesMax)
        for zero: UInt16 in [0, 0, 0] { append(zero) }
        return bytes
    }
}

/// The bits of the header's flags (RFC 1035, section 4.1.1; RFC 4035, section 3.2.3).
enum DNSHeader {
    static let response: UInt16 = 0x8000
    static let operationMask: UInt16 = 0x7800
    static let authoritative: UInt16 = 0x0400
    static let truncated: UInt16 = 0x0200
    static let recursionDesired: UInt16 = 0x0100
    static let recursionAvailable: UInt16 = 0x0080
    static let authenticData: UInt16 = 0x0020
    static let codeMask: UInt16 = 0x000F
}

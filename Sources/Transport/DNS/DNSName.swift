/// A domain name in the form in which it travels, in lower case (RFC 1035, section 3.1; RFC 4343).
package struct DNSName: Sendable, Hashable {
    /// Labels with their lengths before them, and the root's empty label.
    package let wire: [UInt8]

    /// Longest label and longest name, bytes (RFC 1035, section 2.3.4).
    static let labelBytesMax = 63
    static let wireBytesMax = 255

    /// The name in a text such as `www.example.com`; a dot at the end changes nothing, and `.` is the root.
    ///
    /// - Returns: Nil when a label is empty or longer than 63 bytes, or the whole is too long.
    package init?(_ text: some StringProtocol) {
        var wire: [UInt8] = []
        let bytes = Array(text.lowercased().utf8)
        guard !bytes.isEmpty else { return nil }
        let dot = UInt8(ascii: ".")
        let named = bytes.last == dot ? bytes.dropLast() : bytes[...]
        if !named.isEmpty {
            for label in named.split(separator: dot, omittingEmptySubsequences: false) {
                guard (1...Self.labelBytesMax).contains(label.count) else { return nil }
                wire.append(UInt8(label.count))
                wire += label
            }
        }
        wire.append(0)
        guard wire.count <= Self.wireBytesMax else { return nil }
        self.wire = wire
    }

    /// - Parameter wire: Checked by the reader of a message.
    init(wire: [UInt8]) {
        self.wire = wire
    }
}

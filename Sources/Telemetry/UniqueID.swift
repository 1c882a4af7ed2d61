/// A 128-bit identifier written as a UUID (RFC 9562): of an event, a session or a producer.
package struct UniqueID: Hashable, Sendable, Comparable {
    /// The first eight bytes, big-endian as in the text form.
    package let high: UInt64
    /// The last eight bytes, big-endian as in the text form.
    package let low: UInt64

    /// All bits zero: the RFC's nil UUID, which stands for "absent" in fixed-width records.
    package static let zero = UniqueID(high: 0, low: 0)

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The version 4 identifier made of 122 of the given random bits.
    package init(randomHigh: UInt64, randomLow: UInt64) {
        high = randomHigh & ~0xF000 | 0x4000
        low = randomLow & ~(0b11 << 62) | (0b10 << 62)
    }

    /// A new version 4 identifier.
    package static func random(
        using generator: inout some RandomNumberGenerator
    ) -> UniqueID {
        UniqueID(randomHigh: generator.next(), randomLow: generator.next())
    }

    /// Parses the 36-character form, hexadecimal digits in either case.
    ///
    /// Any version and variant is accepted, as the predecessor's clients may post any; nil when the
    /// text has another length, other characters or hyphens elsewhere.
    package init?(_ text: some StringProtocol) {
        let bytes = Array(text.utf8)
        guard let parsed = Self.parse(bytes.span) else { return nil }
        self = parsed
    }

    /// Parses the 36 bytes of the text form.
    package static func parse(_ text: Span<UInt8>) -> UniqueID? {
        let hyphen = UInt8(ascii: "-")
        guard text.count == 36, text[8] == hyphen, text[13] == hyphen, text[18] == hyphen,
            text[23] == hyphen
        else { return nil }
        // Every event has two of these: without a branch for each digit.
        var faults: UInt8 = 0
        func value(_ range: Range<Int>) -> UInt64 {
            var value: UInt64 = 0
            for index in range {
                let byte = text[index]
                let digit = byte &- UInt8(ascii: "0")
                let letter = (byte | 0x20) &- UInt8(ascii: "a")
                faults |= digit < 10 || letter < 6 ? 0 : 1
                value = value << 4 | UInt64(digit < 10 ? digit : letter &+ 10) & 15
            }
            return value
        }
        let high = value(0..<8) << 32 | value(9..<13) << 16 | value(14..<18)
        let low = value(19..<23) << 48 | value(24..<36)
        return faults == 0 ? UniqueID(high: high, low: low) : nil
    }

    package static func < (a: UniqueID, b: UniqueID) -> Bool {
        (a.high, a.low) < (b.high, b.low)
    }
}

extension UniqueID: CustomStringConvertible {
    /// The 36-character form in lower case.
    package var description: String {
        unsafe String(unsafeUninitializedCapacity: 36) { buffer in
            var position = 0
            for nibble in 0..<32 {
                if nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20 {
                    unsafe buffer[position] = UInt8(ascii: "-")
                    position &+= 1
                }
                let half = nibble < 16 ? high : low
                let digit = UInt8(truncatingIfNeeded: half >> UInt64(60 &- (nibble & 15) * 4)) & 15
                unsafe buffer[position] =
                    digit < 10 ? UInt8(ascii: "0") &+ digit : UInt8(ascii: "a") &+ digit &- 10
                position &+= 1
            }
            return position
        }
    }
}

extension UniqueID: Codable {
    /// Decodes the 36-character form.
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let id = UniqueID(text) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "not a UUID of 36 characters")
        }
        self = id
    }

    /// Encodes the 36-character form.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

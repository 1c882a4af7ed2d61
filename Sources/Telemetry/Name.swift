/// A name that is compared byte by byte: of a client, a target, a network.
///
/// Swift's `String` treats canonically equivalent texts as equal, PostgreSQL does not. Two such names must
/// not share one cell in memory and fight over one row in the database, so keys are names.
package struct Name: Sendable {
    /// The text itself.
    package let text: String

    /// A name with these UTF-8 bytes.
    package init(_ text: String) {
        self.text = text
    }

    /// A name from bytes; ill-formed UTF-8 is repaired, so callers validate first.
    package init(utf8 bytes: UnsafeRawBufferPointer) {
        text = unsafe String(decoding: bytes, as: UTF8.self)
    }
}

extension Name: Hashable {
    package static func == (a: Name, b: Name) -> Bool {
        a.text.utf8.elementsEqual(b.text.utf8)
    }

    package func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        hasher.combine(0xFF as UInt8)
    }
}

extension Name: Comparable {
    /// The order of the UTF-8 bytes, which is PostgreSQL's order in the "C" collation.
    package static func < (a: Name, b: Name) -> Bool {
        a.text.utf8.lexicographicallyPrecedes(b.text.utf8)
    }
}

extension Name: CustomStringConvertible, ExpressibleByStringLiteral {
    package var description: String { text }

    package init(stringLiteral value: String) {
        self.init(value)
    }
}

extension Name: Codable {
    package init(from decoder: any Decoder) throws {
        self.init(try decoder.singleValueContainer().decode(String.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}

@_spi(_Unicode) internal import Swift

/// Normalization Form C of Unicode (UAX 15), in which names are kept: the two spellings of "é" are one name.
///
/// The tables are those of the Swift standard library, part of the toolchain that the project fixes, so that
/// every machine has the same. Unicode promises that later versions leave the form of a text alone whose
/// characters were assigned. FoundationEssentials has no such function, Foundation brings ICU along, and a
/// system library would differ from machine to machine.
package enum CanonicalForm {
    /// How many times longer than its composed form a text may be before it is refused unseen.
    ///
    /// The worst are three characters for one of their own length, as in Hangul syllables, and U+1FEF, three
    /// bytes for one.
    static let shrinkageMax = 3

    /// Whether well-formed UTF-8 is in the form for sure, by its leading bytes alone: true for ASCII, Latin,
    /// Cyrillic letters and ideographs when nothing else is among them.
    static func isCertain(of bytes: UnsafeRawBufferPointer) -> Bool {
        for index in 0..<bytes.count where unsafe !isInert(bytes[index]) { return false }
        return true
    }

    /// Whether the byte continues a character, or leads only ones that neither change nor combine with
    /// what stands before them.
    private static func isInert(_ byte: UInt8) -> Bool {
        switch byte {
        // Up to U+02FF; U+0400 to U+047F; U+4000 to U+9FFF.
        case ..<0xCC, 0xD0, 0xD1, 0xE4...0xE9: true
        default: false
        }
    }

    /// The form of a text, for names that come from elsewhere: a scope, an assignment.
    package static func composed(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text._nfc { result.append(scalar) }
        return String(result)
    }
}

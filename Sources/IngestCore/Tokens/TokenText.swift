/// The text of a token: `qoe_<id>_<secret>`, both parts lower-case hexadecimal.
///
/// The fixed beginning lets scanners of source code find tokens that were committed by mistake.
struct TokenText {
    static let start = "qoe"
    /// 64 random bits: enough to tell tokens apart.
    static let idDigitCount = 16
    /// 256 random bits.
    static let secretDigitCount = 64

    let id: String
    let secret: String

    /// A token with a new random secret.
    ///
    /// - Parameter id: Nil makes a new random one.
    static func random(id: String? = nil) -> TokenText {
        TokenText(
            id: id ?? Hexadecimal.random(byteCount: idDigitCount / 2),
            secret: Hexadecimal.random(byteCount: secretDigitCount / 2))
    }

    /// The secret whole: to be shown once, and never logged.
    var whole: String { "\(Self.start)_\(id)_\(secret)" }

    static func isID(_ text: some StringProtocol) -> Bool {
        text.utf8.count == idDigitCount && Hexadecimal.bytes(of: text) != nil
    }

    /// The public part of a whole token, or of what already is one; nil for any other text.
    static func id(in text: String) -> String? {
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBytes { bytes in
            let id = TokenParts(bytes).map(\.idDigits) ?? bytes[...]
            let text = String(decoding: id, as: UTF8.self)
            return isID(text) ? text : nil
        }
    }
}

/// Where the parts of a token lie in its text; valid as long as the text's bytes.
struct TokenParts {
    /// The id as a number, which is quicker to look up than its digits.
    let id: UInt64
    let idDigits: Slice<UnsafeRawBufferPointer>
    /// The digits.
    let secret: UnsafeRawBufferPointer

    private static let beginning = Array("\(TokenText.start)_".utf8)
    private static let idEnd = beginning.count + TokenText.idDigitCount
    private static let byteCount = idEnd + 1 + TokenText.secretDigitCount

    /// Nil when the text has not the form of a token. Allocates nothing.
    init?(_ text: UnsafeRawBufferPointer) {
        guard text.count == Self.byteCount, text.starts(with: Self.beginning),
            text[Self.idEnd] == UInt8(ascii: "_")
        else { return nil }
        idDigits = text[Self.beginning.count..<Self.idEnd]
        guard let id = Self.number(of: idDigits) else { return nil }
        let secret = UnsafeRawBufferPointer(rebasing: text[(Self.idEnd + 1)...])
        guard secret.allSatisfy({ Hexadecimal.value(of: $0) != nil }) else { return nil }
        self.id = id
        self.secret = secret
    }

    /// The number that the digits of an id write; nil when they are no lower-case hexadecimal digits.
    static func number(of idDigits: some Sequence<UInt8>) -> UInt64? {
        var number: UInt64 = 0
        for digit in idDigits {
            guard let value = Hexadecimal.value(of: digit) else { return nil }
            number = number << 4 | UInt64(value)
        }
        return number
    }
}

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
    let secret: Substring

    /// Nil when the text has not the form of a token.
    init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "_", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == Self.start, Self.isID(parts[1]),
            Self.isHexadecimal(parts[2], count: Self.secretDigitCount)
        else { return nil }
        id = String(parts[1])
        secret = Substring(parts[2])
    }

    /// A new random token.
    static func random() -> TokenText {
        TokenText(
            id: Hexadecimal.random(byteCount: idDigitCount / 2),
            secret: Substring(Hexadecimal.random(byteCount: secretDigitCount / 2)))
    }

    private init(id: String, secret: Substring) {
        self.id = id
        self.secret = secret
    }

    /// The secret whole: to be shown once, and never logged.
    var whole: String { "\(Self.start)_\(id)_\(secret)" }

    static func isID(_ text: some StringProtocol) -> Bool {
        isHexadecimal(text, count: idDigitCount)
    }

    private static func isHexadecimal(_ text: some StringProtocol, count: Int) -> Bool {
        text.utf8.count == count && Hexadecimal.bytes(of: text) != nil
    }
}

internal import CDigests

/// The SHA-256 of something; equality takes a time that does not depend on the bytes.
struct SHA256Digest: Sendable {
    /// 32 of them.
    private let bytes: [UInt8]

    static let byteCount = Int(DIGESTS_SHA256_BYTES)

    /// Hashes `text`'s UTF-8 bytes.
    init(of text: Substring) {
        var text = text
        self.init(of: text.withUTF8 { Array($0) })
    }

    init(of bytes: [UInt8]) {
        var digest = [UInt8](repeating: 0, count: Self.byteCount)
        // Fails only when libcrypto itself is broken, and then nobody could be authenticated.
        precondition(digests_sha256(bytes, bytes.count, &digest), "libcrypto cannot hash")
        self.bytes = digest
    }

    /// From the 64 hexadecimal digits of ``hexadecimal``.
    init?(hexadecimal text: String) {
        guard let bytes = Hexadecimal.bytes(of: text), bytes.count == Self.byteCount else {
            return nil
        }
        self.bytes = bytes
    }

    var hexadecimal: String { Hexadecimal.text(of: bytes) }

    func equals(_ other: SHA256Digest) -> Bool {
        digests_equal(bytes, other.bytes, Self.byteCount)
    }
}

/// Bytes as lower-case hexadecimal digits.
enum Hexadecimal {
    static func text(of bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Nil when the text is not pairs of lower-case digits.
    static func bytes(of text: some StringProtocol) -> [UInt8]? {
        var bytes: [UInt8] = []
        var high: UInt8?
        for character in text.utf8 {
            let digit: UInt8
            switch character {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = character - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = character - UInt8(ascii: "a") + 10
            default: return nil
            }
            if let known = high {
                bytes.append(known << 4 | digit)
                high = nil
            } else {
                high = digit
            }
        }
        return high == nil ? bytes : nil
    }

    /// New random bytes as text.
    static func random(byteCount: Int) -> String {
        var bytes = [UInt8](repeating: 0, count: byteCount)
        precondition(digests_random(&bytes, byteCount), "libcrypto has no randomness")
        return text(of: bytes)
    }
}

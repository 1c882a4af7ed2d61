internal import CDigests

/// The SHA-256 (FIPS 180-4) of a file, to compare it with what `sha256sum` says of its copy.
package struct ContentDigest: Sendable, Hashable, CustomStringConvertible {
    /// 64 lower-case hexadecimal digits.
    package let hex: String

    package init(_ bytes: [UInt8]) {
        var hasher = ContentHasher()
        hasher.add(bytes[...])
        self = hasher.digest()
    }

    package init(_ text: String) { self.init(Array(text.utf8)) }

    /// Nil when the text is no digest.
    package init?(hex: String) {
        guard hex.utf8.count == 2 * Int(DIGESTS_SHA256_BYTES),
            hex.utf8.allSatisfy({ "0123456789abcdef".utf8.contains($0) })
        else { return nil }
        self.hex = hex
    }

    fileprivate init(_ digest: some Sequence<UInt8>) {
        hex = digest.map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0\(digits)" : digits
        }.joined()
    }

    package var description: String { hex }
}

/// Makes a ``ContentDigest`` of pieces.
package struct ContentHasher {
    private var state = digests_sha256()

    package init() {
        Self.require(unsafe digests_sha256_begin(&state))
    }

    package mutating func add(_ bytes: ArraySlice<UInt8>) {
        let isDone = unsafe bytes.withUnsafeBytes {
            unsafe digests_sha256_add(&state, $0.baseAddress, $0.count)
        }
        Self.require(isDone)
    }

    /// Of all that was added; then the hasher is used up.
    package mutating func digest() -> ContentDigest {
        var digest = [UInt8](repeating: 0, count: Int(DIGESTS_SHA256_BYTES))
        Self.require(unsafe digests_sha256_end(&state, &digest))
        return ContentDigest(digest[...])
    }

    /// Libcrypto has no reason to refuse; a digest that is none would be worse than an end.
    private static func require(_ isDone: Bool) {
        precondition(isDone, "libcrypto makes no SHA-256")
    }
}

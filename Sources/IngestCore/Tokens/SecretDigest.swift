internal import CDigests

/// What is kept of a secret: its HMAC-SHA-256 under the pepper.
///
/// Equality takes a time that does not depend on the bytes.
struct SecretDigest: Sendable {
    static let byteCount = Int(DIGESTS_SHA256_BYTES)

    private var bytes: InlineArray<32, UInt8>

    /// All zeros; equal to the digest of nothing that is known.
    static let zero = SecretDigest()

    private init() {
        bytes = InlineArray(repeating: 0)
    }

    /// Computes it; allocates nothing.
    init(of text: UnsafeRawBufferPointer, under key: borrowing digests_hmac_key) {
        self.init()
        let isDone = withUnsafePointer(to: key) { key in
            withUnsafeMutableBytes(of: &bytes) { digest in
                digests_hmac(
                    key, text.baseAddress, text.count,
                    digest.baseAddress?.assumingMemoryBound(to: UInt8.self))
            }
        }
        // Fails only when libcrypto itself is broken, and then nobody could be authenticated.
        precondition(isDone, "libcrypto cannot hash")
    }

    /// From the 64 digits of ``hexadecimal``.
    init?(hexadecimal text: String) {
        guard let known = Hexadecimal.bytes(of: text), known.count == Self.byteCount else {
            return nil
        }
        self.init()
        withUnsafeMutableBytes(of: &bytes) { $0.copyBytes(from: known) }
    }

    var hexadecimal: String {
        withUnsafeBytes(of: bytes) { Hexadecimal.text(of: Array($0)) }
    }

    func equals(_ other: SecretDigest) -> Bool {
        withUnsafeBytes(of: bytes) { bytes in
            withUnsafeBytes(of: other.bytes) { others in
                digests_equal(bytes.baseAddress, others.baseAddress, Self.byteCount)
            }
        }
    }
}

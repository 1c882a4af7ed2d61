/// What uploads carry: random bytes, which nothing on the way can compress, in chunks of HTTP/1.1.
///
/// A chunk with its framing fills one record of TLS (RFC 8446, section 5.1), and is written as a whole.
/// All uploads send the same mebibyte again and again: more than the windows of common compressors.
enum UploadChunks {
    /// A chunk with its framing, bytes.
    static let wireBytes = 16 * 1024
    /// Of those, bytes of the body.
    static let bodyBytes = wireBytes - before.count - after.count
    private static let count = 64
    private static let before = Array("3ff8\r\n".utf8)
    private static let after = Array("\r\n".utf8)

    /// Ends a body that was sent in chunks.
    static let last = Array("0\r\n\r\n".utf8)

    /// The chunks one after the other.
    static let bytes: [UInt8] = {
        precondition(Int("3ff8", radix: 16) == bodyBytes, "a chunk's size is announced in it")
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count * wireBytes)
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<count {
            bytes += before
            for _ in 0..<(bodyBytes / 8) {
                let word: UInt64 = generator.next()
                for shift in stride(from: 0, to: 64, by: 8) {
                    bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
                }
            }
            bytes += after
        }
        return bytes
    }()

    /// The bytes of bodies among the first `written` bytes of a stream of chunks.
    static func bodyBytes(of written: Int) -> Int {
        let inChunk = min(bodyBytes, max(0, written % wireBytes - before.count))
        return written / wireBytes * bodyBytes + inChunk
    }
}

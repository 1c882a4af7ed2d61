internal import Telemetry

/// Which bytes of a segment hold events that have left the spool: the file beside it.
///
/// A head with the segment's number of chance, then 16 bytes for each stretch: its start, its end and their
/// checksum. It is not synchronised to disk: what is missing after a power cut is posted again, which
/// ingest recognises. A list of another segment of the same name says nothing.
struct RemovalList {
    /// `QOERMV1` and a line feed.
    private static let magic: UInt64 = 0x0A31_564D_5245_4F51
    static let headByteCount = 16
    static let entryByteCount = 16

    /// Entries, sound or not.
    let entryCount: Int
    /// The sound ones in order, those that touch made one.
    private let stretches: [Range<Int>]

    /// The list in a file of the segment with this number; nil when it is none, or another's.
    init?(in bytes: [UInt8], nonce: UInt64) {
        let span = bytes.span.bytes
        guard bytes.count >= Self.headByteCount,
            span.littleEndian(at: 0, as: UInt64.self) == Self.magic,
            span.littleEndian(at: 8, as: UInt64.self) == nonce
        else { return nil }
        entryCount = (bytes.count - Self.headByteCount) / Self.entryByteCount
        var sound: [Range<Int>] = []
        for entry in 0..<entryCount {
            let position = Self.headByteCount + entry * Self.entryByteCount
            let start = Int(span.littleEndian(at: position, as: UInt32.self))
            let end = Int(span.littleEndian(at: position + 4, as: UInt32.self))
            let checksum = XXHash64.hash(
                span.extracting(position..<position + 8), seed: nonce)
            if start < end, span.littleEndian(at: position + 8, as: UInt64.self) == checksum {
                sound.append(start..<end)
            }
        }
        var merged: [Range<Int>] = []
        for stretch in sound.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = merged.last, stretch.lowerBound <= last.upperBound {
                merged[merged.count - 1] =
                    last.lowerBound..<max(last.upperBound, stretch.upperBound)
            } else {
                merged.append(stretch)
            }
        }
        stretches = merged
    }

    /// Whether all of these bytes are removed.
    func contains(_ bytes: Range<Int>) -> Bool {
        var low = 0
        var high = stretches.count
        while low < high {
            let middle = (low + high) / 2
            if stretches[middle].upperBound < bytes.upperBound {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return low < stretches.count && stretches[low].lowerBound <= bytes.lowerBound
    }

    /// Where the last stretch ends.
    var end: Int { stretches.last?.upperBound ?? 0 }

    static func head(nonce: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: magic)
        bytes.append(littleEndian: nonce)
        return bytes
    }

    /// The bytes of the entry for a stretch.
    static func entry(_ stretch: Range<Int>, nonce: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: UInt32(clamping: stretch.lowerBound))
        bytes.append(littleEndian: UInt32(clamping: stretch.upperBound))
        bytes.append(littleEndian: XXHash64.hash(bytes.span.bytes, seed: nonce))
        return bytes
    }
}

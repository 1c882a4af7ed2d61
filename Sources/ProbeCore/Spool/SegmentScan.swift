internal import Telemetry

/// What is found in the bytes of a segment, whatever happened to them.
///
/// A segment begins with a head of 16 bytes, a magic word and a number of chance that its list of removals
/// repeats, and goes on with records. Where no sound record begins, the next place that holds one is looked for.
struct SegmentScan {
    static let headByteCount = 16
    /// `QOESPL2` and a line feed.
    static let magic: UInt64 = 0x0A32_4C50_5345_4F51

    struct Place {
        let start: Int
        let record: SpoolRecord

        var end: Int { start + record.byteCount }
    }

    /// The head's number; nil when the head is damaged.
    let nonce: UInt64?
    let places: [Place]
    /// What is neither head nor record, in order; one that reaches the end may be a torn write.
    let damages: [Range<Int>]
    /// Where the last sound record ends, or the head.
    let end: Int

    init(_ bytes: [UInt8]) {
        let span = bytes.span.bytes
        let hasHead =
            bytes.count >= Self.headByteCount
            && span.littleEndian(at: 0, as: UInt64.self) == Self.magic
        nonce = hasHead ? span.littleEndian(at: 8, as: UInt64.self) : nil
        var position = hasHead ? Self.headByteCount : 0
        var places: [Place] = []
        var damages: [Range<Int>] = []
        while position < bytes.count {
            if let record = SpoolRecord(in: span, at: position) {
                places.append(Place(start: position, record: record))
                position += record.byteCount
                continue
            }
            let start = position
            repeat {
                position += 1
            } while position < bytes.count
                && SpoolRecord(in: span, at: position) == nil
            damages.append(start..<position)
        }
        let word = bytes.count >= 8 ? span.littleEndian(at: 0, as: UInt64.self) : 0
        // All but the version's digit and the line feed.
        let nameMask: UInt64 = 0xFFFF_FFFF_FFFF
        isOfOtherVersion =
            word != Self.magic && places.isEmpty && word & nameMask == Self.magic & nameMask
        self.places = places
        self.damages = damages
        end = places.last?.end ?? (hasHead ? Self.headByteCount : 0)
    }

    /// Whether the head is of a format that this program does not know.
    let isOfOtherVersion: Bool

    /// The head of a new segment.
    static func head(nonce: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: magic)
        bytes.append(littleEndian: nonce)
        return bytes
    }
}

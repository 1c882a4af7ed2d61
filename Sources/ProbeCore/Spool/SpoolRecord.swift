internal import Telemetry
internal import Transport

/// One event in a segment of the spool.
///
/// | bytes | are |
/// |---|---|
/// | 4 | a marker, of which two bytes never occur in UTF-8 |
/// | 4 | the length of what follows the checksum |
/// | 8 | XXH64 of what follows, seeded with the length |
/// | 16, 8 | the session, the event's number |
/// | 8, 8, 8 | when it was measured: Unix ms, nanoseconds since boot, which boot (0: not known) |
/// | 1 | whose time the first of these is: 1 ingest's, 0 the wall clock's |
/// | rest | the event's JSON |
///
/// Integers are little-endian. The marker is only where to look: a record is one when its checksum says so.
struct SpoolRecord {
    static let marker: UInt32 = 0xF753_51F6
    /// Marker, length and checksum.
    static let headByteCount = 16
    /// All but the JSON.
    static let fixedByteCount = headByteCount + 24 + timeByteCount
    /// No event of ours comes near what ingest takes for one.
    static let jsonByteCountMax = 64 * 1024
    /// Of the time of measurement, from the record's start.
    static let timeOffset = headByteCount + 24
    static let timeByteCount = 25

    let byteCount: Int
    let session: UniqueID
    let number: UInt64
    let time: EventTime

    /// The bytes of an event's record.
    static func bytes(of event: SpooledEvent) -> [UInt8] {
        precondition(event.json.count <= jsonByteCountMax, "an event is beyond every bound")
        var content: [UInt8] = []
        content.reserveCapacity(fixedByteCount - headByteCount + event.json.count)
        content.append(littleEndian: event.session.high)
        content.append(littleEndian: event.session.low)
        content.append(littleEndian: event.number)
        content.append(littleEndian: event.time.milliseconds)
        content.append(littleEndian: event.time.boottime.nanoseconds)
        content.append(littleEndian: event.time.boot?.value ?? 0)
        content.append(event.time.isReference ? 1 : 0)
        content += event.json
        var record: [UInt8] = []
        record.reserveCapacity(headByteCount + content.count)
        record.append(littleEndian: marker)
        record.append(littleEndian: UInt32(content.count))
        record.append(
            littleEndian: XXHash64.hash(content.span.bytes, seed: UInt64(content.count)))
        return record + content
    }

    /// The record that begins at `offset`; nil when there is none, or not a whole and sound one.
    init?(in bytes: RawSpan, at offset: Int) {
        guard offset >= 0, bytes.byteCount - offset >= Self.fixedByteCount,
            bytes.littleEndian(at: offset, as: UInt32.self) == Self.marker
        else { return nil }
        let length = Int(bytes.littleEndian(at: offset + 4, as: UInt32.self))
        let start = offset + Self.headByteCount
        guard length >= Self.fixedByteCount - Self.headByteCount,
            length <= Self.fixedByteCount + Self.jsonByteCountMax,
            length <= bytes.byteCount - start
        else { return nil }
        let checksum = XXHash64.hash(
            bytes.extracting(start..<start + length), seed: UInt64(length))
        guard bytes.littleEndian(at: offset + 8, as: UInt64.self) == checksum else { return nil }
        byteCount = Self.headByteCount + length
        session = UniqueID(
            high: bytes.littleEndian(at: start, as: UInt64.self),
            low: bytes.littleEndian(at: start + 8, as: UInt64.self))
        number = bytes.littleEndian(at: start + 16, as: UInt64.self)
        time = Self.time(in: bytes, at: offset + Self.timeOffset)
    }

    /// The time at `offset`, which must lie within the bytes with all that belongs to it.
    static func time(in bytes: RawSpan, at offset: Int) -> EventTime {
        EventTime(
            milliseconds: bytes.littleEndian(at: offset, as: Int64.self),
            isReference: bytes.littleEndian(at: offset + 24, as: UInt8.self) == 1,
            boottime: BoottimeInstant(
                nanoseconds: bytes.littleEndian(at: offset + 8, as: Int64.self)),
            boot: BootID(bytes.littleEndian(at: offset + 16, as: UInt64.self)))
    }

    /// The event of the record that fills `bytes`; nil when it is not a whole and sound one.
    static func event(in bytes: ArraySlice<UInt8>) -> SpooledEvent? {
        guard let record = SpoolRecord(in: bytes.span.bytes, at: 0),
            record.byteCount == bytes.count
        else { return nil }
        return SpooledEvent(
            session: record.session, number: record.number,
            time: record.time, json: Array(bytes.dropFirst(fixedByteCount)))
    }
}

extension RawSpan {
    /// The integer at `offset`, which must lie within the span.
    func littleEndian<Integer: FixedWidthInteger & BitwiseCopyable>(
        at offset: Int, as type: Integer.Type
    ) -> Integer {
        Integer(littleEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: type))
    }
}

extension [UInt8] {
    mutating func append(littleEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }
}

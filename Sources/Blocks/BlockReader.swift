package import Telemetry

/// A validated view of a block's bytes.
///
/// Whatever the bytes are, making a reader returns or throws; once it is made, every accessor is total. The view
/// borrows: it must not outlive the bytes it was made of.
@unsafe package struct BlockReader {
    private let bytes: UnsafeRawBufferPointer
    private let stringsStart: Int
    private let originsStart: Int
    private let recordsStart: Int
    private let valuesStart: Int
    private let stringCount: Int
    private let stringByteCount: Int
    private let valueCount: Int

    package let partition: Int
    package let eventCount: Int
    package let originCount: Int
    package let producer: UniqueID
    /// Counts a producer's blocks of one partition: 1, 2, 3…
    package let blockNumber: UInt64
    private let firstReceived: Int64

    /// Whether `bytes` claim to be a block, and so are not a plain JSON message.
    package static func claims(_ bytes: UnsafeRawBufferPointer) -> Bool {
        unsafe bytes.count >= 4 && bytes.load(0, as: UInt32.self) == BlockFormat.magic
    }

    /// Checks `bytes` in full: sizes, checksum, names, references and values.
    ///
    /// - Complexity: One pass over the bytes.
    package init(validating bytes: UnsafeRawBufferPointer) throws(BlockError) {
        typealias Header = BlockFormat.Header
        guard unsafe Self.claims(bytes) else { throw .notABlock }
        guard bytes.count >= Header.size + BlockFormat.checksumSize else {
            throw .wrongSize(
                expected: Header.size + BlockFormat.checksumSize, actual: bytes.count)
        }
        let version: UInt16 = unsafe bytes.load(Header.version)
        guard version == BlockFormat.version else { throw .unsupportedVersion(version) }

        unsafe self.init(alreadyValidated: bytes)
        let checksumStart = unsafe valuesStart + valueCount * 8
        guard checksumStart + BlockFormat.checksumSize == bytes.count else {
            throw .wrongSize(
                expected: checksumStart + BlockFormat.checksumSize, actual: bytes.count)
        }
        let body = unsafe UnsafeRawBufferPointer(rebasing: bytes[..<checksumStart])
        guard unsafe XXHash64.hash(body) == bytes.load(checksumStart) else {
            throw .wrongChecksum
        }
        try unsafe checkStrings()
        try unsafe checkOrigins()
        try unsafe checkRecords()
    }

    /// A view of bytes that have been checked before.
    init(alreadyValidated bytes: UnsafeRawBufferPointer) {
        typealias Header = BlockFormat.Header
        unsafe self.bytes = bytes
        unsafe partition = Int(bytes.load(Header.partition, as: UInt16.self))
        unsafe eventCount = Int(bytes.load(Header.eventCount, as: UInt32.self))
        unsafe originCount = Int(bytes.load(Header.originCount, as: UInt32.self))
        unsafe stringCount = Int(bytes.load(Header.stringCount, as: UInt32.self))
        unsafe stringByteCount = Int(bytes.load(Header.stringByteCount, as: UInt32.self))
        unsafe valueCount = Int(bytes.load(Header.valueCount, as: UInt32.self))
        unsafe producer = bytes.loadID(Header.producer)
        unsafe blockNumber = bytes.load(Header.blockNumber)
        unsafe firstReceived = bytes.load(Header.firstReceived)

        // Each count is below 2^32 and each size below 2^6, so these sums stay far below 2^63.
        unsafe stringsStart = Header.size + stringCount * 4
        unsafe originsStart = stringsStart + stringByteCount
        unsafe recordsStart = originsStart + originCount * BlockFormat.Origin.size
        unsafe valuesStart = recordsStart + eventCount * BlockFormat.Record.size
    }

    private func checkStrings() throws(BlockError) {
        var start = 0
        for index in 0..<(unsafe stringCount) {
            let end = unsafe Int(bytes.load(BlockFormat.Header.size + index * 4, as: UInt32.self))
            guard end >= start, end <= (unsafe stringByteCount),
                end - start <= EventLimits.nameBytesMax
            else {
                throw .invalidString(index: index)
            }
            let text = unsafe UnsafeRawBufferPointer(
                rebasing: bytes[(stringsStart + start)..<(stringsStart + end)])
            guard unsafe isStorable(text) else { throw .invalidString(index: index) }
            start = end
        }
        guard start == (unsafe stringByteCount) else {
            throw unsafe .invalidString(index: stringCount)
        }
    }

    /// PostgreSQL's `text` takes well-formed UTF-8 without U+0000.
    private func isStorable(_ text: UnsafeRawBufferPointer) -> Bool {
        var isASCII = true
        for index in 0..<text.count {
            let byte = unsafe text[index]
            if byte == 0 { return false }
            if byte >= 0x80 { isASCII = false }
        }
        return unsafe isASCII || String(validating: text, as: UTF8.self) != nil
    }

    private func checkOrigins() throws(BlockError) {
        typealias Layout = BlockFormat.Origin
        for index in 0..<(unsafe originCount) {
            let start = unsafe originsStart + index * Layout.size
            let client = unsafe bytes.load(start + Layout.client, as: UInt32.self)
            guard client < (unsafe stringCount), unsafe !string(client).isEmpty else {
                throw .invalidOrigin(index: index)
            }
            var offset = Layout.sourceIP
            while offset <= Layout.resolver {
                let text = unsafe bytes.load(start + offset, as: UInt32.self)
                guard text == BlockFormat.noString || text < (unsafe stringCount) else {
                    throw .invalidOrigin(index: index)
                }
                offset += 4
            }
        }
    }

    private func checkRecords() throws(BlockError) {
        typealias Layout = BlockFormat.Record
        let maxima = InlineArray<10, UInt64> { index in
            Metric(rawValue: UInt8(index)).map { MetricValue.maximum(of: $0).millionths } ?? 0
        }
        var nextValue = 0
        for index in 0..<(unsafe eventCount) {
            let start = unsafe recordsStart + index * Layout.size
            let origin = unsafe bytes.load(start + Layout.origin, as: UInt32.self)
            let target = unsafe bytes.load(start + Layout.target, as: UInt32.self)
            let firstValue = unsafe bytes.load(start + Layout.firstValue, as: UInt32.self)
            let mask = unsafe bytes.load(start + Layout.mask, as: UInt16.self)
            let stage = unsafe bytes[start + Layout.errorStage]
            let sequence = unsafe bytes.load(start + Layout.sequence, as: UInt64.self)
            guard unsafe origin < originCount, unsafe target < stringCount,
                unsafe !string(target).isEmpty,
                firstValue == nextValue, mask < 1 << UInt16(Metric.count),
                nextValue + mask.nonzeroBitCount <= (unsafe valueCount),
                stage == 0 || ErrorStage(rawValue: stage) != nil,
                unsafe hasSession(origin: Int(origin))
                    ? (1...SessionSequence.maximumNumber).contains(sequence) : sequence == 0
            else { throw .invalidRecord(index: index) }
            var rest = mask
            while rest != 0 {
                let value = unsafe bytes.load(valuesStart + nextValue * 8, as: UInt64.self)
                guard value <= maxima[rest.trailingZeroBitCount] else {
                    throw .invalidRecord(index: index)
                }
                nextValue += 1
                rest &= rest - 1
            }
        }
        guard nextValue == (unsafe valueCount) else {
            throw unsafe .invalidRecord(index: eventCount)
        }
    }

    /// How many texts the block holds; ``string(_:)`` takes 0 to this minus one.
    package var stringTableCount: Int { unsafe stringCount }

    /// The bytes of a text by the index that an origin or a record names.
    package func string(_ index: UInt32) -> UnsafeRawBufferPointer {
        let index = Int(index)
        let ends = BlockFormat.Header.size
        let start = unsafe index == 0 ? 0 : Int(bytes.load(ends + index * 4 - 4, as: UInt32.self))
        let end = unsafe Int(bytes.load(ends + index * 4, as: UInt32.self))
        return unsafe UnsafeRawBufferPointer(
            rebasing: bytes[(stringsStart + start)..<(stringsStart + end)])
    }

    private func hasSession(origin index: Int) -> Bool {
        let start = unsafe originsStart + index * BlockFormat.Origin.size
        let flags = unsafe bytes.load(start + BlockFormat.Origin.flags, as: UInt32.self)
        return flags & BlockFormat.Origin.hasSession != 0
    }

    /// The origin with `index`, 0 to ``originCount`` − 1.
    package func origin(_ index: Int) -> BlockOrigin {
        typealias Layout = BlockFormat.Origin
        let start = unsafe originsStart + index * Layout.size
        let flags = unsafe bytes.load(start + Layout.flags, as: UInt32.self)
        func text(_ offset: Int) -> UInt32? {
            let index = unsafe bytes.load(start + offset, as: UInt32.self)
            return index == BlockFormat.noString ? nil : index
        }
        return unsafe BlockOrigin(
            session: flags & Layout.hasSession == 0 ? nil : bytes.loadID(start + Layout.session),
            client: bytes.load(start + Layout.client),
            sourceIP: text(Layout.sourceIP), networkType: text(Layout.networkType),
            isp: text(Layout.isp), region: text(Layout.region), resolver: text(Layout.resolver),
            asn: flags & Layout.hasASN == 0 ? nil : bytes.load(start + Layout.asn))
    }

    /// The record with `index`, 0 to ``eventCount`` − 1.
    @inline(__always)
    package func record(_ index: Int) -> BlockRecord {
        typealias Layout = BlockFormat.Record
        let start = unsafe recordsStart + index * Layout.size
        let delta = unsafe bytes.load(start + Layout.receivedDelta, as: Int32.self)
        return unsafe BlockRecord(
            eventID: bytes.loadID(start + Layout.eventID),
            measuredAtMilliseconds: bytes.load(start + Layout.measuredAt),
            receivedAtMilliseconds: firstReceived &+ Int64(delta),
            sequenceNumber: bytes.load(start + Layout.sequence),
            origin: Int(bytes.load(start + Layout.origin, as: UInt32.self)),
            target: bytes.load(start + Layout.target),
            firstValue: Int(bytes.load(start + Layout.firstValue, as: UInt32.self)),
            mask: bytes.load(start + Layout.mask),
            errorStage: ErrorStage(rawValue: bytes[start + Layout.errorStage]))
    }

    /// A value by its position: a record's ``BlockRecord/firstValue`` and those that follow, one for each bit of
    /// its mask from the lowest on.
    @inline(__always)
    package func value(_ index: Int) -> MetricValue {
        unsafe MetricValue(millionths: bytes.load(valuesStart + index * 8))
    }
}

/// Who posted some events of a block; the numbers are indexes of texts.
package struct BlockOrigin: Hashable, Sendable {
    package let session: UniqueID?
    package let client: UInt32
    package let sourceIP: UInt32?
    package let networkType: UInt32?
    package let isp: UInt32?
    package let region: UInt32?
    package let resolver: UInt32?
    package let asn: UInt32?
}

/// The fixed part of one event of a block.
package struct BlockRecord: Hashable, Sendable {
    package let eventID: UniqueID
    package let measuredAtMilliseconds: Int64
    package let receivedAtMilliseconds: Int64
    /// 0 when the origin has no session.
    package let sequenceNumber: UInt64
    package let origin: Int
    /// The index of the target's text.
    package let target: UInt32
    package let firstValue: Int
    package let mask: UInt16
    package let errorStage: ErrorStage?
}

package import Telemetry

/// Gathers events of one partition into a block.
///
/// A builder is reused for one block after another, so that in steady state appending allocates nothing.
/// It does not check the fields: ``BlockReader`` refuses what breaks ``EventLimits``.
package struct BlockBuilder: Sendable {
    private let partition: UInt16
    private let producer: UniqueID
    private let byteCountMax: Int

    private var strings = StringTable()
    private var origins = OriginTable()
    private var records: [UInt8] = []
    private var values: [UInt64] = []
    private var firstReceived: Int64 = 0

    /// How many events the open block holds.
    package private(set) var eventCount = 0

    /// An empty builder.
    ///
    /// - Parameters:
    ///   - partition: The partition whose events this builder takes.
    ///   - producer: Names the process that builds; with the block number it names the block.
    ///   - byteCountMax: The size a sealed block never exceeds, bytes.
    package init(partition: Int, producer: UniqueID, byteCountMax: Int) {
        self.partition = UInt16(clamping: partition)
        self.producer = producer
        self.byteCountMax = min(byteCountMax, BlockFormat.byteCountMax)
    }

    package var isEmpty: Bool { eventCount == 0 }

    /// The size the block would have if it were sealed now, bytes.
    package var byteCount: Int {
        BlockFormat.Header.size + strings.byteCount + origins.bytes.count + records.count
            + values.count * 8 + BlockFormat.checksumSize
    }

    /// The most that `event` can add to a block, bytes.
    private func costMax(of event: EventFields) -> Int {
        var cost = BlockFormat.Record.size + BlockFormat.Origin.size + 7 * 4
        cost += unsafe event.mask.nonzeroBitCount * 8
        cost += unsafe event.clientID.count + event.target.count
        cost += unsafe (event.sourceIP?.count ?? 0) + (event.networkType?.count ?? 0)
        cost += unsafe (event.isp?.count ?? 0) + (event.region?.count ?? 0)
        cost += unsafe event.resolver?.count ?? 0
        return cost
    }

    /// Adds `event`, or returns false and changes nothing when the block could grow beyond its bound.
    ///
    /// An empty block takes any event within ``EventLimits`` when its bound is at least 4 KiB.
    package mutating func append(_ event: EventFields) -> Bool {
        guard unsafe byteCount + costMax(of: event) <= byteCountMax else { return false }
        if eventCount == 0 { firstReceived = unsafe event.receivedAtMilliseconds }
        let delta = unsafe event.receivedAtMilliseconds.subtractingReportingOverflow(firstReceived)
        // Requests reach a block slightly out of order; a step of the clock backwards, or by weeks, closes it.
        guard !delta.overflow, let receivedDelta = Int32(exactly: delta.partialValue) else {
            return false
        }
        let origin = unsafe origins.index(of: event, strings: &strings)
        let target = unsafe strings.index(of: event.target)
        let firstValue = UInt32(truncatingIfNeeded: values.count)
        unsafe appendValues(of: event)

        typealias Record = BlockFormat.Record
        let start = records.count
        records.append(contentsOf: repeatElement(0, count: Record.size))
        unsafe records.withUnsafeMutableBytes { buffer in
            let record = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[start...])
            unsafe record.store(event.id, at: Record.eventID)
            unsafe record.store(event.measuredAtMilliseconds, at: Record.measuredAt)
            unsafe record.store(
                event.session == nil ? 0 : event.sequenceNumber, at: Record.sequence)
            unsafe record.store(receivedDelta, at: Record.receivedDelta)
            unsafe record.store(origin, at: Record.origin)
            unsafe record.store(target, at: Record.target)
            unsafe record.store(firstValue, at: Record.firstValue)
            unsafe record.store(event.mask, at: Record.mask)
            unsafe record.store(event.errorStage?.rawValue ?? 0, at: Record.errorStage)
        }
        eventCount &+= 1
        return true
    }

    private mutating func appendValues(of event: EventFields) {
        var rest = unsafe event.mask
        while rest != 0 {
            let index = rest.trailingZeroBitCount
            guard index < Metric.count else { break }
            unsafe values.append(event.values[index])
            rest &= rest &- 1
        }
    }

    /// Returns the block's bytes and leaves the builder empty.
    package mutating func seal(blockNumber: UInt64) -> [UInt8] {
        typealias Header = BlockFormat.Header
        let size = byteCount
        let block = unsafe [UInt8](unsafeUninitializedCapacity: size) { buffer, initialized in
            let block = UnsafeMutableRawBufferPointer(buffer)
            unsafe block.store(BlockFormat.magic, at: Header.magic)
            unsafe block.store(BlockFormat.version, at: Header.version)
            unsafe block.store(partition, at: Header.partition)
            unsafe block.store(UInt32(truncatingIfNeeded: eventCount), at: Header.eventCount)
            unsafe block.store(UInt32(truncatingIfNeeded: origins.count), at: Header.originCount)
            unsafe block.store(UInt32(truncatingIfNeeded: strings.count), at: Header.stringCount)
            unsafe block.store(
                UInt32(truncatingIfNeeded: strings.bytes.count), at: Header.stringByteCount)
            unsafe block.store(UInt32(truncatingIfNeeded: values.count), at: Header.valueCount)
            unsafe block.store(UInt32(0), at: Header.reserved)
            unsafe block.store(producer, at: Header.producer)
            unsafe block.store(blockNumber, at: Header.blockNumber)
            unsafe block.store(firstReceived, at: Header.firstReceived)
            var position = Header.size
            unsafe block.copy(strings.ends, at: &position)
            unsafe block.copy(strings.bytes, at: &position)
            unsafe block.copy(origins.bytes, at: &position)
            unsafe block.copy(records, at: &position)
            unsafe block.copy(values, at: &position)
            let body = unsafe UnsafeRawBufferPointer(rebasing: block[..<position])
            unsafe block.store(XXHash64.hash(body), at: position)
            initialized = size
        }
        strings.removeAll()
        origins.removeAll()
        records.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
        eventCount = 0
        return block
    }
}

/// The distinct texts of a block.
private struct StringTable: Sendable {
    private(set) var bytes: [UInt8] = []
    private(set) var ends: [UInt32] = []
    private var indexByHash: [UInt64: UInt32] = [:]

    var count: Int { ends.count }
    var byteCount: Int { bytes.count + ends.count * 4 }

    mutating func index(of text: UnsafeRawBufferPointer?) -> UInt32 {
        guard let text = unsafe text else { return BlockFormat.noString }
        return unsafe index(of: text)
    }

    /// The index of `text`, which is added when it is new.
    ///
    /// Should two texts have the same hash, the later one is stored each time it comes.
    mutating func index(of text: UnsafeRawBufferPointer) -> UInt32 {
        let hash = unsafe XXHash64.hash(text)
        let known = indexByHash[hash]
        if let known, unsafe matches(known, text) { return known }
        let index = UInt32(truncatingIfNeeded: ends.count)
        unsafe bytes.append(contentsOf: text)
        ends.append(UInt32(truncatingIfNeeded: bytes.count))
        if known == nil { indexByHash[hash] = index }
        return index
    }

    func matches(_ index: UInt32, _ text: UnsafeRawBufferPointer?) -> Bool {
        guard let text = unsafe text else { return index == BlockFormat.noString }
        guard index != BlockFormat.noString else { return false }
        let start = index == 0 ? 0 : Int(ends[Int(index) &- 1])
        return unsafe bytes[start..<Int(ends[Int(index)])].elementsEqual(text)
    }

    mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        ends.removeAll(keepingCapacity: true)
        indexByHash.removeAll(keepingCapacity: true)
    }
}

/// The distinct origins of a block. An event mostly has the origin of the one before it.
private struct OriginTable: Sendable {
    private struct Origin: Hashable, Sendable {
        var session: UniqueID?
        var client: UInt32
        var sourceIP: UInt32
        var networkType: UInt32
        var isp: UInt32
        var region: UInt32
        var resolver: UInt32
        var asn: UInt32?
    }

    private(set) var bytes: [UInt8] = []
    private var last: (origin: Origin, index: UInt32)?
    private var indexByOrigin: [Origin: UInt32] = [:]

    var count: Int { bytes.count / BlockFormat.Origin.size }

    mutating func index(of event: EventFields, strings: inout StringTable) -> UInt32 {
        if let last, unsafe matches(last.origin, event, strings) { return last.index }
        let origin = unsafe Origin(
            session: event.session,
            client: strings.index(of: event.clientID),
            sourceIP: strings.index(of: event.sourceIP),
            networkType: strings.index(of: event.networkType),
            isp: strings.index(of: event.isp),
            region: strings.index(of: event.region),
            resolver: strings.index(of: event.resolver),
            asn: event.asn)
        let index: UInt32
        if let known = indexByOrigin[origin] {
            index = known
        } else {
            index = UInt32(truncatingIfNeeded: count)
            append(origin)
            indexByOrigin[origin] = index
        }
        last = (origin, index)
        return index
    }

    private func matches(
        _ origin: Origin, _ event: EventFields, _ strings: StringTable
    ) -> Bool {
        unsafe origin.session == event.session && origin.asn == event.asn
            && strings.matches(origin.client, event.clientID)
            && strings.matches(origin.sourceIP, event.sourceIP)
            && strings.matches(origin.networkType, event.networkType)
            && strings.matches(origin.isp, event.isp)
            && strings.matches(origin.region, event.region)
            && strings.matches(origin.resolver, event.resolver)
    }

    private mutating func append(_ origin: Origin) {
        typealias Layout = BlockFormat.Origin
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: Layout.size))
        unsafe bytes.withUnsafeMutableBytes { buffer in
            let slot = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[start...])
            unsafe slot.store(origin.session ?? .zero, at: Layout.session)
            unsafe slot.store(origin.client, at: Layout.client)
            unsafe slot.store(origin.sourceIP, at: Layout.sourceIP)
            unsafe slot.store(origin.networkType, at: Layout.networkType)
            unsafe slot.store(origin.isp, at: Layout.isp)
            unsafe slot.store(origin.region, at: Layout.region)
            unsafe slot.store(origin.resolver, at: Layout.resolver)
            unsafe slot.store(origin.asn ?? 0, at: Layout.asn)
            let flags =
                (origin.session == nil ? 0 : Layout.hasSession)
                | (origin.asn == nil ? 0 : Layout.hasASN)
            unsafe slot.store(flags, at: Layout.flags)
        }
    }

    mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        indexByOrigin.removeAll(keepingCapacity: true)
        last = nil
    }
}

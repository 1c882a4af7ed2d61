import AggregatorCore
import Store
import Testing

private func extent(
    first: UInt64 = 101, last: UInt64 = 200, bytes: UInt64 = 60, limit: Int64 = 100
) -> LogTrimming.Extent {
    LogTrimming.Extent(
        firstSequence: first, lastSequence: last, byteCount: bytes, byteCountMax: limit)
}

private func position(
    _ partition: Int, _ committed: UInt64, _ replay: UInt64, isSettled: Bool = true
) -> LogPosition {
    LogPosition(
        partition: partition, committedSequence: committed, replayFromSequence: replay,
        isSettled: isSettled)
}

/// - Parameter trimmedBelow: Unless given, all that is missing was trimmed.
private func purgeBelow(
    _ extent: LogTrimming.Extent, _ positions: [LogPosition], newest: [Int: UInt64],
    trimmedBelow: UInt64? = nil
) -> UInt64? {
    LogTrimming.purgeBelow(
        extent, trimmedBelow: trimmedBelow ?? extent.firstSequence, partitionCount: 2,
        positions: positions, newest: newest)
}

@Test func `what somebody else removed is noticed by all before more is trimmed`() {
    let unaware = [position(0, 200, 201), position(1, 150, 151)]
    let newest: [Int: UInt64] = [0: 200, 1: 199]
    #expect(purgeBelow(extent(first: 160), unaware, newest: newest, trimmedBelow: 120) == nil)
    let aware = [position(0, 200, 201), position(1, 199, 200)]
    #expect(purgeBelow(extent(first: 160), aware, newest: newest, trimmedBelow: 120) != nil)
}

@Test func `a stream with room keeps its history`() {
    let done = [position(0, 200, 201), position(1, 199, 200)]
    #expect(purgeBelow(extent(bytes: 49), done, newest: [0: 200, 1: 199]) == nil)
    #expect(purgeBelow(extent(limit: -1), done, newest: [0: 200, 1: 199]) == nil)
}

@Test func `the older half of what is committed goes`() {
    let done = [position(0, 200, 201), position(1, 199, 200)]
    #expect(purgeBelow(extent(), done, newest: [0: 200, 1: 199]) == 151)
    #expect(
        purgeBelow(extent(first: 200), done, newest: [0: 200, 1: 199]) == 201,
        "a single message can go")
}

@Test func `nothing that a partition still needs goes`() {
    let behind = [position(0, 200, 201), position(1, 120, 111)]
    #expect(purgeBelow(extent(), behind, newest: [0: 200, 1: 180]) == 106)
    #expect(purgeBelow(extent(first: 111), behind, newest: [0: 200, 1: 180]) == nil)
}

@Test func `a partition that nobody has begun pins its messages`() {
    #expect(purgeBelow(extent(), [position(0, 200, 201)], newest: [0: 200, 1: 150]) == nil)
    #expect(purgeBelow(extent(), [], newest: [0: 200]) == nil)
}

@Test func `an idle partition pins nothing`() {
    let idle = [position(0, 200, 201), position(1, 3, 1)]
    #expect(purgeBelow(extent(), idle, newest: [0: 200]) == 151)
    #expect(purgeBelow(extent(), idle, newest: [0: 200, 1: 3]) == 151)
    #expect(purgeBelow(extent(), [position(0, 200, 201)], newest: [0: 200]) == 151)
}

@Test func `an idle partition keeps the identifiers of its last minutes`() {
    let fresh = [position(0, 200, 201), position(1, 150, 121, isSettled: false)]
    #expect(purgeBelow(extent(), fresh, newest: [0: 200, 1: 150]) == 111)
}

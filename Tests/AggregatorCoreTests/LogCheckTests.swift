import AggregatorCore
import Store
import Telemetry
import TestKit
import Testing
import Windowing

/// A log of which only the sequences, times and hashes matter.
private final class BareLog: EventLog {
    var extentFound: LogExtent
    var anchors: [UInt64: LogAnchor] = [:]
    private(set) var lookups = 0

    /// Messages `first` to `last`, one per 100 ms; `hash` tells one log's from another's.
    init(_ first: UInt64, _ last: UInt64, created: Int64 = 1, hash: UInt64 = 1) {
        extentFound = LogExtent(
            createdNanoseconds: created, firstSequence: first, lastSequence: last)
        append(first...max(first, last), hash: hash, at: { Int64($0) * 100 })
    }

    func append(
        _ sequences: ClosedRange<UInt64>, hash: UInt64, at time: (UInt64) -> Int64
    ) {
        for sequence in sequences {
            anchors[sequence] = LogAnchor(
                sequence: sequence, brokerMilliseconds: time(sequence),
                payloadHash: sequence &* 31 &+ hash)
        }
        extentFound.lastSequence = max(extentFound.lastSequence, sequences.upperBound)
    }

    func extent() -> LogExtent { extentFound }
    func anchor(at sequence: UInt64) -> LogAnchor? {
        lookups += 1
        let isThere =
            sequence >= extentFound.firstSequence && sequence <= extentFound.lastSequence
        return isThere ? anchors[sequence] : nil
    }
    func open(partition: Int, from sequence: UInt64) {}
    func close(partition: Int) {}
    func read(until deadline: ContinuousClock.Instant) -> [LogMessage] { [] }
    func readingCount(of partition: Int) -> Int { 0 }
    func isCaughtUp(partition: Int) -> Bool { true }
}

/// What is known after every message of `log` up to `committed` that `step` hits was a flush's last.
private func standing(
    _ log: BareLog, committed: UInt64, step: UInt64 = 7, trimmedBelow: UInt64 = 0
) -> PartitionStanding {
    var trail = AnchorTrail()
    for sequence in stride(from: step, through: committed, by: Int(step)) {
        if let anchor = log.anchors[sequence] { trail.append(anchor) }
    }
    if let anchor = log.anchors[committed] { trail.append(anchor) }
    var standing = PartitionStanding(
        streamCreatedNanoseconds: log.extentFound.createdNanoseconds, anchors: trail.anchors,
        trimmedBelow: trimmedBelow)
    standing.progress.committedSequence = committed
    standing.progress.replayFromSequence = max(1, committed / 2)
    standing.progress.committedBrokerMilliseconds = log.anchors[committed]?.brokerMilliseconds
    return standing
}

private func check(_ standing: PartitionStanding, _ log: BareLog) throws -> Reposition? {
    switch try LogCheck.check(standing, log.extentFound, log) {
    case .intact: nil
    case .moved(let move): move
    }
}

@Test func `a log that only grew goes on where the rows end, after one look`() throws {
    let log = BareLog(1, 2000)
    let standing = standing(log, committed: 2000)
    log.append(2001...2500, hash: 1) { Int64($0) * 100 }
    let before = log.lookups
    #expect(try check(standing, log) == nil)
    #expect(log.lookups == before + 1)
}

@Test func `what was never read goes on at the beginning`() throws {
    #expect(try check(PartitionStanding(), BareLog(1, 0)) == nil)
    #expect(try check(PartitionStanding(), BareLog(1, 9)) == nil)
}

@Test(arguments: 0..<200 as Range<UInt64>)
func `a log that lost its tail and gave the sequences out again is read from the cut`(
    seed: UInt64
) throws {
    var random = SeededGenerator(seed: seed)
    let committed = UInt64.random(in: 10...3000, using: &random)
    let cut = UInt64.random(in: 0..<committed, using: &random)
    let log = BareLog(1, committed)
    let standing = standing(
        log, committed: committed, step: UInt64.random(in: 1...50, using: &random))
    // What is new came after what was lost, and may have grown far beyond it.
    let grown = cut + UInt64.random(in: 1...4000, using: &random)
    log.extentFound.lastSequence = cut
    for sequence in cut + 1...committed { log.anchors[sequence] = nil }
    log.append(cut + 1...grown, hash: 2) { Int64(committed) * 100 + 60_000 + Int64($0) }

    let move = try #require(try check(standing, log), "seed \(seed)")
    #expect(move.startsGeneration)
    #expect(move.expectedSequence == committed)
    // Nothing new is skipped, nothing old that no anchor proves is taken for new.
    #expect(move.committedSequence <= cut, "seed \(seed)")
    #expect(move.countedThroughSequence == cut, "seed \(seed)")
    #expect(move.replayFromSequence <= move.committedSequence + 1)
    #expect(move.anchors.allSatisfy { $0.sequence <= move.committedSequence })
    #expect(
        move.lost == [
            LostRange(sequences: cut + 1...committed, reason: LostRange.goneAfterCounting)
        ], "seed \(seed)")
}

@Test func `a log that lost its tail and got nothing since is noticed as well`() throws {
    let log = BareLog(1, 100)
    let standing = standing(log, committed: 100)
    log.extentFound.lastSequence = 60
    let move = try #require(try check(standing, log))
    #expect(move.countedThroughSequence == 60)
    #expect(move.lost.map(\.sequences) == [61...100])
}

@Test func `a log made anew is read from its first message`() throws {
    let standing = standing(BareLog(1, 500), committed: 500)
    let log = BareLog(1, 20, created: 2, hash: 9)
    log.append(1...20, hash: 9) { 1_000_000 + Int64($0) }
    let move = try #require(try check(standing, log))
    #expect(move.committedSequence == 0)
    #expect(move.countedThroughSequence == 0)
    #expect(move.anchors == [])
    #expect(move.lost.map(\.sequences) == [1...500])
}

@Test func `a log restored from a copy under another time of creation is recognised`() throws {
    let log = BareLog(1, 300)
    let standing = standing(log, committed: 300)
    log.extentFound.createdNanoseconds = 77
    #expect(try check(standing, log) == nil)
}

@Test func `messages that were removed unread are a lost range, to the exact sequence`() throws {
    let log = BareLog(1, 900)
    let standing = standing(log, committed: 300)
    log.extentFound.firstSequence = 401
    let move = try #require(try check(standing, log))
    #expect(!move.startsGeneration)
    #expect(move.committedSequence == 400)
    #expect(
        move.lost == [LostRange(sequences: 301...400, reason: LostRange.removedUnread)])
}

@Test func `what was trimmed when nobody needed it is no loss`() throws {
    let log = BareLog(1, 900)
    log.extentFound.firstSequence = 401
    #expect(
        try check(standing(log, committed: 300, trimmedBelow: 401), log) == nil)
    let move = try #require(
        try check(standing(log, committed: 300, trimmedBelow: 350), log))
    #expect(move.lost.map(\.sequences) == [350...400])
}

@Test func `a log that begins beyond everything known is a loss up to its beginning`() throws {
    let standing = standing(BareLog(1, 300), committed: 300)
    let log = BareLog(1000, 1200, created: 5, hash: 3)
    let move = try #require(try check(standing, log))
    #expect(move.startsGeneration)
    #expect(move.committedSequence == 999)
    // Nothing was read of this log, whose sequences count anew.
    #expect(move.lost.map(\.sequences) == [1...999])
}

@Test func `a log that gives out again what was removed from it is read from there`() throws {
    let log = BareLog(1, 30)
    var standing = standing(log, committed: 10)
    // Messages up to 15 were removed unread, and a copy of before that was restored and has grown.
    standing.progress.committedSequence = 15
    log.extentFound.lastSequence = 10
    for sequence in 11...30 as ClosedRange<UInt64> { log.anchors[sequence] = nil }
    log.append(11...20, hash: 2) { 60_000 + Int64($0) }
    let move = try #require(try check(standing, log))
    #expect(move.startsGeneration)
    #expect(move.committedSequence == 10)
    #expect(move.countedThroughSequence == 10)
}

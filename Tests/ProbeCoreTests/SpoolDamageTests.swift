import ProbeCore
import TestKit
import Testing

@testable import ProbeCore

@Suite struct SpoolDamageTests {
    private func open(_ folder: OwnFolder) throws -> Spool {
        try Spool(stateFolder: folder.path, logger: silentLogger)
    }

    @Test func `a segment that ends at any byte keeps all whole events, and takes new ones`() throws
    {
        let source = try OwnFolder()
        var spool: Spool? = try open(source)
        var ends: [Int] = []
        for number in 1...4 {
            spool?.append(spoolEvent(UInt64(number), jsonBytes: 20 + number))
            ends.append(try bytes(of: try #require(segmentFiles(in: source.path).first)).count)
        }
        spool = nil
        let whole = try bytes(of: try #require(segmentFiles(in: source.path).first))
        #expect(ends.last == whole.count)
        for length in 0...whole.count {
            let folder = try OwnFolder()
            try SmallFile.makeFolder("\(folder.path)/spool")
            try writeBytes(
                Array(whole[..<length]), to: "\(folder.path)/spool/0000000000000001.events")
            let kept = (1...4).filter { ends[$0 - 1] <= length }.map { EventName(1, UInt64($0)) }
            var torn: Spool? = try open(folder)
            #expect(torn?.waiting().map { EventName($0) } == kept, "\(length) bytes")
            #expect(torn?.status.dropped == 0)
            torn?.append(spoolEvent(1, session: 2))
            torn = nil
            let again = try open(folder).waiting().map { EventName($0) }
            #expect(again == kept + [EventName(2, 1)], "\(length) bytes")
        }
    }

    @Test(arguments: 0..<40 as Range<UInt64>)
    func `random damage costs the events it hits and no others`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let folder = try OwnFolder()
        let limits = SpoolLimits(bytesMax: 1 << 20, segmentBytesMax: 4 << 10)
        var spool: Spool? = try Spool(
            stateFolder: folder.path, limits: limits, logger: silentLogger)
        for number in 1...150 {
            spool?.append(
                spoolEvent(UInt64(number), jsonBytes: Int.random(in: 20...300, using: &random)))
        }
        spool = nil
        let files = try segmentFiles(in: folder.path)
        var hit: Set<EventName> = []
        for _ in 0..<Int.random(in: 1...6, using: &random) {
            let file = try #require(files.randomElement(using: &random))
            let before = try bytes(of: file)
            let at = Int.random(in: 0..<before.count, using: &random)
            let length = random.chance(50) ? 1 : Int.random(in: 1...600, using: &random)
            var after = before
            for index in at..<min(after.count, at + length) {
                after[index] = UInt8.random(in: 0...255, using: &random)
            }
            for place in SegmentScan(before).places
            where after[place.start..<place.end] != before[place.start..<place.end] {
                hit.insert(EventName(1, place.record.number))
            }
            try writeBytes(after, to: file)
        }
        let reopened = try Spool(stateFolder: folder.path, limits: limits, logger: silentLogger)
        let found = reopened.waiting().map { EventName($0) }
        let all = Set((1...150).map { EventName(1, $0) })
        #expect(Set(found).count == found.count, "seed \(seed)")
        #expect(Set(found) == all.subtracting(hit), "seed \(seed)")
        // What is missing between two sound events is named; of the last ones nobody knows.
        let last = found.max() ?? EventName(1, 0)
        let first = found.min() ?? EventName(1, 0)
        let between = hit.filter { $0 < last && first < $0 }
        #expect(Set(reopened.ledger.names) == between, "seed \(seed)")
        #expect(reopened.status.lost[.corrupt] ?? 0 == UInt64(between.count), "seed \(seed)")
    }

    @Test func `damage that comes while the probe runs is noticed before posting`() throws {
        let folder = try OwnFolder()
        let spool = try open(folder)
        for number in 1...5 { spool.append(spoolEvent(UInt64(number))) }
        let file = try #require(segmentFiles(in: folder.path).first)
        var content = try bytes(of: file)
        let third = SegmentScan(content).places[2]
        content[third.end - 1] ^= 1
        try SpoolFile(file, emptied: false).write(content, at: 0)
        #expect(spool.drain().map(\.number) == [1, 2, 4, 5])
        #expect(spool.ledger.names == [EventName(1, 3)])
    }

    @Test(arguments: 0..<40 as Range<UInt64>)
    func `a damaged list of removals never removes what was not delivered`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let folder = try OwnFolder()
        var spool: Spool? = try open(folder)
        for number in 1...40 { spool?.append(spoolEvent(UInt64(number))) }
        for _ in 0..<5 {
            let batch = try #require(
                spool?.take(SpoolRequest(countMax: 3, bytesMax: 1 << 20), nowMilliseconds: testNow))
            spool?.finish(batch, refused: [])
        }
        spool = nil
        let path = "\(folder.path)/spool/0000000000000001.removed"
        var list = try bytes(of: path)
        for _ in 0..<3 {
            list[Int.random(in: list.indices, using: &random)] = UInt8.random(
                in: 0...255, using: &random)
        }
        if random.chance(30) { list.removeLast(Int.random(in: 0..<list.count, using: &random)) }
        try writeBytes(list, to: path)
        let found = Set(try open(folder).waiting().map(\.number))
        #expect(found.isSuperset(of: 16...40), "seed \(seed)")
    }

    @Test func `a list of another segment of the same name removes nothing`() throws {
        let folder = try OwnFolder()
        var spool: Spool? = try open(folder)
        for number in 1...3 { spool?.append(spoolEvent(UInt64(number))) }
        let batch = try #require(
            spool?.take(SpoolRequest(countMax: 2, bytesMax: 1 << 20), nowMilliseconds: testNow))
        spool?.finish(batch, refused: [])
        spool = nil
        let path = "\(folder.path)/spool/0000000000000001.removed"
        let list = try bytes(of: path)
        let other = try OwnFolder()
        spool = try open(other)
        for number in 1...3 { spool?.append(spoolEvent(UInt64(number))) }
        spool = nil
        try writeBytes(list, to: "\(other.path)/spool/0000000000000001.removed")
        #expect(try open(other).waiting().count == 3)
    }

    @Test func `events that a power cut took do not make new ones look delivered`() throws {
        let folder = try OwnFolder()
        var spool: Spool? = try open(folder)
        for number in 1...6 { spool?.append(spoolEvent(UInt64(number))) }
        let file = try #require(segmentFiles(in: folder.path).first)
        let places = SegmentScan(try bytes(of: file)).places
        let boundary = try #require(spool?.endPosition) - 2
        // The newest are delivered, and noted, before they are synchronised.
        let batch = try #require(
            spool?.take(
                SpoolRequest(
                    countMax: 2, bytesMax: 1 << 20, backlogMax: 0, freshFrom: boundary),
                nowMilliseconds: testNow))
        #expect(batch.events.map(\.number) == [5, 6])
        spool?.finish(batch, refused: [])
        spool = nil
        try writeBytes(Array(try bytes(of: file)[..<places[3].end]), to: file)
        spool = try open(folder)
        for number in 1...3 { spool?.append(spoolEvent(UInt64(number), session: 2)) }
        spool = nil
        let names = try open(folder).waiting().map { EventName($0) }
        #expect(
            names == (1...4).map { EventName(1, $0) } + (1...3).map { EventName(2, $0) })
    }
}

import Glibc
import ProbeCore
import Telemetry
import TestKit
import Testing
import Transport

@testable import ProbeCore

@Suite struct SpoolTests {
    private let folder: OwnFolder

    init() throws {
        folder = try OwnFolder()
    }

    private func open(_ limits: SpoolLimits = SpoolLimits()) throws -> Spool {
        try Spool(stateFolder: folder.path, limits: limits, logger: silentLogger)
    }

    /// Limits of a few kilobytes, so that events of 100 bytes fill segments.
    private var tight: SpoolLimits { SpoolLimits(bytesMax: 16 << 10, segmentBytesMax: 1 << 10) }

    @Test func `events outlive the process with their session, number, time and text`() throws {
        let events = (1...20).map { spoolEvent(UInt64($0), measuredAt: testNow - Int64($0)) }
        var spool: Spool? = try open()
        for event in events { spool?.append(event) }
        spool = nil
        let reopened = try open()
        #expect(reopened.waiting() == events)
        #expect(reopened.status.depth == 20)
        #expect(reopened.status.oldest?.milliseconds == testNow - 1)
    }

    @Test func `a restart goes on behind the old session`() throws {
        var spool: Spool? = try open()
        for number in 1...3 { spool?.append(spoolEvent(UInt64(number), session: 1)) }
        spool = nil
        spool = try open()
        for number in 1...2 { spool?.append(spoolEvent(UInt64(number), session: 2)) }
        spool = nil
        let names = try open().waiting().map { EventName($0) }
        #expect(
            names == [
                EventName(1, 1), EventName(1, 2), EventName(1, 3), EventName(2, 1),
                EventName(2, 2),
            ])
        #expect(try segmentFiles(in: folder.path).count == 1)
    }

    @Test func `what is delivered stays away after a restart, and what is taken does not`() throws {
        var spool: Spool? = try open(tight)
        for number in 1...30 { spool?.append(spoolEvent(UInt64(number))) }
        let first = try #require(
            spool?.take(SpoolRequest(countMax: 7, bytesMax: 1 << 20), nowMilliseconds: testNow))
        let second = try #require(
            spool?.take(SpoolRequest(countMax: 5, bytesMax: 1 << 20), nowMilliseconds: testNow))
        #expect(second.events.map(\.number) == Array(8...12))
        spool?.finish(second, refused: [])
        #expect(first.count == 7)
        spool = nil
        #expect(try open(tight).waiting().map(\.number) == Array(1...7) + Array(13...30))
    }

    @Test func `files go when all their events have left`() throws {
        let spool = try open(tight)
        for number in 1...30 { spool.append(spoolEvent(UInt64(number))) }
        #expect(try segmentFiles(in: folder.path).count > 3)
        #expect(spool.drain().count == 30)
        spool.close()
        #expect(try SpoolFile.names(in: "\(folder.path)/spool").filter { $0.hasPrefix("0") } == [])
    }

    @Test func `a batch holds at least one event, and else what fits`() throws {
        let spool = try open()
        for number in 1...5 { spool.append(spoolEvent(UInt64(number))) }
        func numbers(_ countMax: Int, _ bytesMax: Int) -> [UInt64] {
            let batch = spool.take(
                SpoolRequest(countMax: countMax, bytesMax: bytesMax), nowMilliseconds: testNow)
            spool.putBack(batch)
            return batch.events.map(\.number)
        }
        #expect(numbers(10, 1) == [1])
        #expect(numbers(10, 3 * 101) == [1, 2, 3])
        #expect(numbers(2, 9999) == [1, 2])
    }

    @Test func `fresh events go first, then the backlog in its order and up to its share`() throws {
        let spool = try open(tight)
        for number in 1...20 { spool.append(spoolEvent(UInt64(number))) }
        let boundary = spool.endPosition
        for number in 21...23 { spool.append(spoolEvent(UInt64(number))) }
        func numbers(_ order: DrainOrder, _ backlogMax: Int) -> [UInt64] {
            let batch = spool.take(
                SpoolRequest(
                    countMax: 100, bytesMax: 1 << 20, backlogMax: backlogMax, freshFrom: boundary,
                    order: order), nowMilliseconds: testNow)
            spool.putBack(batch)
            #expect(batch.backlogCount == batch.count - 3)
            return batch.events.map(\.number)
        }
        #expect(numbers(.oldestFirst, 4) == [21, 22, 23, 1, 2, 3, 4])
        #expect(numbers(.newestFirst, 4) == [21, 22, 23, 20, 19, 18, 17])
        #expect(numbers(.oldestFirst, 0) == [21, 22, 23])
        #expect(numbers(.newestFirst, 99).count == 23)
    }

    @Test func `a full spool drops its oldest and names exactly those, also after a restart`()
        throws
    {
        var spool: Spool? = try open(tight)
        for number in 1...500 { spool?.append(spoolEvent(UInt64(number))) }
        let waiting = try #require(spool?.waiting().map { EventName($0) })
        let dropped = try #require(spool?.ledger.names)
        let status = try #require(spool?.status)
        #expect(dropped + waiting == (1...500).map { EventName(1, $0) })
        #expect(status.dropped == UInt64(dropped.count))
        #expect(status.lost == [.full: UInt64(dropped.count)])
        #expect(status.bytes <= 16 << 10)
        #expect(spool?.ledger.stretches.count == 1)
        spool = nil
        let reopened = try open(tight)
        #expect(reopened.ledger.names == dropped)
        #expect(reopened.waiting().map { EventName($0) } == waiting)
        #expect(reopened.status.dropped == 0)
    }

    @Test func `what is under way is not dropped, and neighbours are`() throws {
        let spool = try open(tight)
        for number in 1...5 { spool.append(spoolEvent(UInt64(number))) }
        let batch = spool.take(
            SpoolRequest(countMax: 3, bytesMax: 1 << 20), nowMilliseconds: testNow)
        for number in 6...500 { spool.append(spoolEvent(UInt64(number))) }
        #expect(Set(spool.ledger.names).isDisjoint(with: (1...5).map { EventName(1, $0) }))
        #expect(spool.status.dropped > 0)
        spool.finish(batch, refused: [])
        let left = spool.waiting().map { EventName($0) }
        #expect(Set(left).union(spool.ledger.names) == Set((4...500).map { EventName(1, $0) }))
    }

    @Test func `what is dropped but still on disk after a crash does not come back`() throws {
        var spool: Spool? = try open(tight)
        for number in 1...5 { spool?.append(spoolEvent(UInt64(number))) }
        let file = try #require(try segmentFiles(in: folder.path).first)
        let kept = try bytes(of: file)
        for number in 6...500 { spool?.append(spoolEvent(UInt64(number))) }
        spool = nil
        try writeBytes(kept, to: file)
        let reopened = try open(tight)
        #expect(
            Set(reopened.waiting().map { EventName($0) }).isDisjoint(with: reopened.ledger.names))
    }

    @Test func `what a killed run may have posted is not dropped by the next`() throws {
        var spool: Spool? = try open(tight)
        for number in 1...20 { spool?.append(spoolEvent(UInt64(number))) }
        let request = SpoolRequest(countMax: 5, bytesMax: 1 << 20)
        let posted = try #require(spool?.take(request, nowMilliseconds: testNow))
        spool?.willPost(posted)
        spool = nil
        let next = try open(tight)
        for number in 1...500 { next.append(spoolEvent(UInt64(number), session: 2)) }
        let again = next.takeUnderWay()
        #expect(again.events == posted.events)
        #expect(next.takeUnderWay().isEmpty)
        let dropped = next.ledger.names
        #expect(Set(dropped).isDisjoint(with: posted.events.map { EventName($0) }))
        #expect(dropped.contains(EventName(1, 20)))
        next.finish(again, refused: [])
    }

    @Test func `what is too old to be taken is dropped and named`() throws {
        let limits = SpoolLimits(bytesMax: 1 << 20, segmentBytesMax: 1 << 10, ageMax: .seconds(60))
        let spool = try open(limits)
        for number in 1...30 {
            spool.append(spoolEvent(UInt64(number), measuredAt: testNow + Int64(number) * 1000))
        }
        let later = testNow + 60_000 + 20_500
        spool.tick(nowMilliseconds: later)
        // Whole segments go without being read.
        #expect(spool.status.dropped > 0)
        #expect(spool.status.dropped <= 20)
        let batch = spool.take(
            SpoolRequest(countMax: 100, bytesMax: 1 << 20), nowMilliseconds: later)
        #expect(batch.events.map(\.number) == Array(21...30))
        #expect(spool.ledger.names == (1...20).map { EventName(1, $0) })
        #expect(spool.status.lost == [.age: 20])
    }

    @Test func `what ingest refuses is named and not posted again`() throws {
        var spool: Spool? = try open()
        for number in 1...5 { spool?.append(spoolEvent(UInt64(number))) }
        if let batch = spool?.take(
            SpoolRequest(countMax: 9, bytesMax: 1 << 20), nowMilliseconds: testNow)
        {
            spool?.finish(batch, refused: [1, 3])
        }
        #expect(spool?.status.dropped == 0)
        spool = nil
        let reopened = try open()
        #expect(reopened.waiting().isEmpty)
        #expect(reopened.ledger.names == [EventName(1, 2), EventName(1, 4)])
    }

    @Test func `a folder that is in use is refused until its owner has gone`() throws {
        var first: Spool? = try open()
        first?.append(spoolEvent(1))
        #expect(throws: FileProblem.self) { try open() }
        first = nil
        #expect(try open().status.depth == 1)
    }

    @Test func `without a folder events wait in memory, within its bound`() throws {
        var limits = SpoolLimits()
        limits.memoryCountMax = 10
        let spool = try Spool(stateFolder: nil, limits: limits, logger: silentLogger)
        for number in 1...15 { spool.append(spoolEvent(UInt64(number))) }
        #expect(spool.status.inMemory == 10)
        #expect(spool.status.lost == [.memory: 5])
        #expect(spool.ledger.names == (1...5).map { EventName(1, $0) })
        #expect(spool.drain().map(\.number) == Array(6...15))
        #expect(spool.status.depth == 0)
    }

    @Test func `a segment of another version is set aside`() throws {
        let spoolFolder = "\(folder.path)/spool"
        try SmallFile.makeFolder(spoolFolder)
        let path = "\(spoolFolder)/0000000000000001.events"
        let content = Array("QOESPL9\nsomething".utf8)
        try writeBytes(content, to: path)
        let spool = try open()
        spool.append(spoolEvent(1))
        #expect(spool.status.depth == 1)
        #expect(try bytes(of: path + ".set-aside") == content)
    }

    @Test func `neighbours are one stretch, in whichever order they come`() {
        let session = UniqueID(high: 0, low: 1)
        var ledger = DropLedger()
        for number in [5, 6, 7, 4, 3, 3, 20, 19, 8] as [UInt64] {
            ledger.add(number, of: session, because: .age)
        }
        #expect(ledger.stretches.map(\.numbers) == [3...8, 19...20])
        #expect(ledger.total == 8)
        ledger.add(9, of: session, because: .full)
        ledger.add(9, of: UniqueID(high: 0, low: 2), because: .age)
        #expect(ledger.stretches.count == 4)
        ledger.add(.max, of: session, because: .full)
        ledger.add(0, of: session, because: .full)
        #expect(ledger.stretches.count == 6)
    }

    @Test func `the ledger keeps a bounded number of stretches, and the count of all`() {
        var ledger = DropLedger()
        let count = DropLedger.stretchCountMax + 500
        for number in 1...count {
            ledger.add(UInt64(number * 2), of: UniqueID(high: 0, low: 1), because: .refused)
        }
        #expect(ledger.stretches.count == DropLedger.stretchCountMax)
        #expect(ledger.total == UInt64(count))
        #expect(DropLedger(text: ledger.text) == ledger)
        #expect(DropLedger(text: "rubbish\n1 2 3 4\n").total == 0)
    }
}

@Suite struct HeartbeatOfTheSpoolTests {
    @Test func `depth, age and drops are those of the spool, and without events there is no age`()
        throws
    {
        let resolver = Resolver()
        defer { resolver.shutDown() }
        var limits = SpoolLimits()
        limits.memoryCountMax = 3
        let spool = try Spool(stateFolder: nil, limits: limits, logger: silentLogger)
        let clock = machineClock()
        let reporter = HeartbeatReporter(
            servers: [try HTTPURL("http://127.0.0.1:1/")],
            constant: Heartbeat(clientID: "client", sentAtMilliseconds: 0), spool: spool,
            clock: clock,
            dialer: Dialer(resolver: resolver, tls: try TLSContext.client()),
            token: try TokenSource(text: nil), userAgent: "test", counters: ProbeCounters(),
            logger: silentLogger)
        let empty = reporter.heartbeat()
        #expect(empty.spoolDepth == 0)
        #expect(empty.spoolOldestAgeSeconds == nil)
        #expect(empty.drops == 0)
        let now = clock.reading()
        let hourAgo = BoottimeInstant(
            nanoseconds: now.moment.boottime.nanoseconds - 3_600_000_000_000)
        for number in 1...5 as ClosedRange<UInt64> {
            // Whatever the wall clock says.
            let time = EventTime(
                milliseconds: 0, isReference: false, boottime: hourAgo, boot: now.boot)
            spool.append(
                SpooledEvent(
                    session: UniqueID(high: 0, low: 1), number: number, time: time, json: []))
        }
        let full = reporter.heartbeat()
        #expect(full.spoolDepth == 3)
        #expect(try #require(full.spoolOldestAgeSeconds) >= 3599)
        #expect(full.drops == 2)
    }
}

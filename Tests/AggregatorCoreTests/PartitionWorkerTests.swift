import AggregatorCore
import Blocks
import CoreMetrics
import LogDecoding
import Logging
import Store
import Synchronization
import Telemetry
import TestKit
import Testing
import Windowing

/// A clock that moves when told.
private final class ManualTime: Sendable {
    private let state = Mutex((instant: ContinuousClock.now, milliseconds: start))

    var instant: ContinuousClock.Instant { state.withLock { $0.instant } }
    var milliseconds: Int64 { state.withLock { $0.milliseconds } }

    func advance(milliseconds: Int64) {
        state.withLock {
            $0.instant += .milliseconds(milliseconds)
            $0.milliseconds += milliseconds
        }
    }
}

private let start: Int64 = 1_703_347_200_000
private let partitions = [0, 1]

private struct Fixture {
    let stream = InMemoryStream()
    let log: InMemoryLog
    let tables = InMemoryTables()
    let time = ManualTime()
    let partitioning: Partitioning
    /// A client of each partition.
    let clients: [Name]

    init() throws {
        let partitioning = try #require(Partitioning(count: partitions.count))
        self.partitioning = partitioning
        log = InMemoryLog(stream)
        clients = try partitions.map { partition in
            let number = try #require(
                (0..<1000).first { partitioning.partition(ofClient: "probe-\($0)") == partition })
            return Name("probe-\(number)")
        }
    }

    func worker(
        _ name: String = "a", log: InMemoryLog? = nil,
        limits: PartitionState.Limits = PartitionState.Limits()
    ) -> PartitionWorker<InMemoryLog, InMemoryTables> {
        let time = time
        let nonces = Mutex(SeededGenerator(seed: UInt64(name.utf8.reduce(0) { $0 + Int($1) })))
        return PartitionWorker(
            name: name, partitions: partitions, partitionCount: partitions.count,
            log: log ?? self.log, tables: tables,
            decoder: MessageDecoder(partitioning: partitioning),
            environment: .init(
                instant: { time.instant }, unixMilliseconds: { time.milliseconds },
                makeNonce: { nonces.withLock { UniqueID.random(using: &$0) } }),
            limits: limits,
            metrics: AggregatorMetrics(factory: NOOPMetricsHandler.instance),
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    /// A right to write partition 0.
    var ownership: Ownership {
        Ownership(partition: 0, generation: 1, nonce: .zero, epoch: 1)
    }

    func event(_ number: UInt64, of client: Name) -> Event {
        var event = Event(
            id: UniqueID(high: 1, low: number), clientID: client, target: "https://a.example",
            measuredAtMilliseconds: start,
            sequence: SessionSequence(session: UniqueID(high: 4, low: 4), number: number))
        event.metrics[.dns] = MetricValue(millionths: number * 1_000_000)
        return event
    }

    func post(_ numbers: ClosedRange<UInt64>, to partition: Int, claiming: Int? = nil) {
        var builder = BlockBuilder(
            partition: claiming ?? partition, producer: .zero, byteCountMax: 1 << 20)
        for number in numbers {
            let isTaken = builder.append(
                event(number, of: clients[partition]), receivedAtMilliseconds: start)
            #expect(isTaken)
        }
        stream.append(
            builder.seal(blockNumber: 1), to: partition, brokerMilliseconds: time.milliseconds)
    }

    /// Turns the worker until a second has passed often enough for everything to be flushed.
    func run(_ worker: PartitionWorker<InMemoryLog, InMemoryTables>, turns: Int = 12) {
        for _ in 0..<turns {
            worker.turn(until: time.instant)
            time.advance(milliseconds: 600)
        }
    }

    func counted(_ partition: Int) -> UInt64? {
        let key = SessionKey(client: clients[partition], session: UniqueID(high: 4, low: 4))
        return tables.sessions[key]?.counted.count
    }

    func total(_ partition: Int) -> Int64 {
        tables.cells.filter { $0.key.client == clients[partition] }
            .reduce(0) { $0 + $1.value.cell.total }
    }
}

@Test func `events of every partition are counted and committed`() throws {
    let fixture = try Fixture()
    for partition in partitions {
        for block in 0..<10 as Range<UInt64> {
            fixture.post(block * 5 + 1...block * 5 + 5, to: partition)
        }
    }
    fixture.run(fixture.worker())
    for partition in partitions {
        #expect(fixture.total(partition) == 50)
        #expect(fixture.counted(partition) == 50)
        #expect(fixture.tables.progress[partition]?.counters.messages == 10)
    }
}

@Test(arguments: [
    InMemoryTables.Fault.unavailable, .unknownAndLost, .unknownAndDone,
])
func `a flush that fails in any way counts every event once`(fault: InMemoryTables.Fault) throws {
    let fixture = try Fixture()
    let worker = fixture.worker()
    fixture.post(1...5, to: 0)
    fixture.run(worker)
    for round in 0..<5 as Range<UInt64> {
        fixture.tables.nextFault = fault
        fixture.post(round * 3 + 6...round * 3 + 8, to: 0)
        fixture.run(worker)
    }
    #expect(fixture.total(0) == 20)
    #expect(fixture.counted(0) == 20)
}

@Test func `with the tables down nothing is read into memory, and work goes on afterwards`() throws
{
    let fixture = try Fixture()
    let worker = fixture.worker()
    fixture.post(1...5, to: 0)
    fixture.run(worker)
    fixture.tables.isDown = true
    fixture.post(6...9, to: 0)
    fixture.run(worker)
    #expect(worker.ownedCount == 0)
    fixture.tables.isDown = false
    fixture.run(worker)
    #expect(worker.ownedCount == partitions.count)
    #expect(fixture.total(0) == 9)
}

@Test func `an owner that was replaced writes nothing, and gives way`() throws {
    let fixture = try Fixture()
    let old = fixture.worker("old")
    fixture.post(1...5, to: 0)
    fixture.run(old)
    let new = fixture.worker("new", log: InMemoryLog(fixture.stream))
    new.turn(until: fixture.time.instant)
    let owner = fixture.tables.owners[0]
    fixture.post(6...9, to: 0)
    // The old owner's state is stale from here on: its flush must be refused.
    fixture.time.advance(milliseconds: 5000)
    old.turn(until: fixture.time.instant)
    #expect(fixture.tables.owners[0] == owner)
    #expect(old.ownedCount < partitions.count)
    #expect(fixture.total(0) == 5)
    fixture.run(new)
    #expect(fixture.total(0) == 9)
}

@Test func `a log that breaks is read anew from what is committed`() throws {
    let fixture = try Fixture()
    let worker = fixture.worker()
    fixture.post(1...5, to: 0)
    fixture.run(worker)
    fixture.log.isBroken = true
    fixture.run(worker)
    #expect(worker.ownedCount == 0)
    fixture.log.isBroken = false
    fixture.post(6...7, to: 0)
    fixture.run(worker)
    #expect(fixture.total(0) == 7)
}

@Test func `a message of another partition, or no block at all, is set aside once`() throws {
    let fixture = try Fixture()
    fixture.post(1...2, to: 0, claiming: 1)
    fixture.stream.append(Array("nonsense".utf8), to: 0, brokerMilliseconds: start)
    fixture.post(3...4, to: 0)
    fixture.run(fixture.worker("a"))
    fixture.run(fixture.worker("b"))
    #expect(fixture.total(0) == 2)
    #expect(
        fixture.tables.deadLetters.map(\.reason) == ["wrong_partition", "invalid_request"])
}

@Test func `a worker that finishes has written everything and holds nothing`() throws {
    let fixture = try Fixture()
    let worker = fixture.worker()
    fixture.post(1...5, to: 0)
    worker.turn(until: fixture.time.instant)
    #expect(fixture.total(0) == 0)
    worker.finish()
    #expect(fixture.total(0) == 5)
    #expect(fixture.tables.owners.isEmpty)
    #expect(worker.ownedCount == 0)
}

@Test func `a partition that was dropped is given back at once when it is another's`() throws {
    let fixture = try Fixture()
    let worker = fixture.worker()
    fixture.run(worker)
    fixture.log.isBroken = true
    worker.turn(until: fixture.time.instant)
    #expect(worker.ownedCount == 0)
    #expect(fixture.tables.owners.count == partitions.count)
    fixture.log.isBroken = false
    // As many instances as partitions: one of the two is to go.
    fixture.tables.otherInstances = ["other"]
    fixture.time.advance(milliseconds: 4000)
    worker.turn(until: fixture.time.instant)
    #expect(fixture.tables.owners.count == 1)
}

@Test func `a worker that finishes gives back what it had dropped`() throws {
    let fixture = try Fixture()
    let worker = fixture.worker()
    fixture.run(worker)
    fixture.log.isBroken = true
    worker.turn(until: fixture.time.instant)
    worker.finish()
    #expect(fixture.tables.owners.isEmpty)
}

@Test func `a log that lost its tail and gave the sequences out again is counted exactly once`()
    throws
{
    let fixture = try Fixture()
    let worker = fixture.worker()
    for number in 1...20 as ClosedRange<UInt64> { fixture.post(number...number, to: 0) }
    fixture.run(worker)
    #expect(fixture.total(0) == 20)
    // Twelve messages survive, and others take the place of the rest before anybody looks: retries
    // of two that are gone, and new ones, beyond the old end.
    fixture.stream.loseTail(after: 12)
    fixture.log.readings += 1
    fixture.post(19...20, to: 0)
    for number in 21...40 as ClosedRange<UInt64> { fixture.post(number...number, to: 0) }
    fixture.run(worker, turns: 30)
    #expect(fixture.total(0) == 40)
    #expect(fixture.counted(0) == 40)
    #expect(fixture.tables.lost.map(\.sequences) == [13...20])
    #expect(fixture.tables.owners[0]?.generation == 2)
}

@Test func `what was read is counted, even if the log loses it before the flush`() throws {
    let fixture = try Fixture()
    let worker = fixture.worker()
    fixture.post(1...2, to: 0)
    fixture.run(worker)
    worker.turn(until: fixture.time.instant)
    fixture.post(3...4, to: 0)
    worker.turn(until: fixture.time.instant)
    #expect(fixture.total(0) == 2)
    fixture.stream.loseTail(after: 1)
    fixture.log.readings += 1
    fixture.time.advance(milliseconds: 500)
    fixture.post(5...6, to: 0)
    fixture.run(worker)
    #expect(fixture.total(0) == 6)
    #expect(fixture.tables.lost.map(\.sequences) == [2...2])
}

@Test
func `after three crashes messages are counted one by one, and the one at fault is set aside`()
    throws
{
    let fixture = try Fixture()
    for number in 1...4 as ClosedRange<UInt64> { fixture.post(number...number, to: 0) }
    fixture.tables.crashCounts[0] = 3
    // The second message has killed its readers again and again.
    for _ in 0..<5 { _ = try fixture.tables.beginMessage(2, under: fixture.ownership) }
    fixture.run(fixture.worker())
    #expect(fixture.tables.deadLetters.map(\.sequence) == [2])
    #expect(fixture.tables.deadLetters.map(\.reason) == ["crashes_its_reader"])
    #expect(fixture.total(0) == 3)
    #expect(fixture.tables.begun[0]?.isEmpty != false)
}

@Test func `a flush that took hours does not put off the next one for hours`() throws {
    let fixture = try Fixture()
    let worker = fixture.worker()
    fixture.post(1...2, to: 0)
    let time = fixture.time
    fixture.tables.duringNextFlush = { time.advance(milliseconds: 3 * 3600 * 1000) }
    fixture.run(worker)
    fixture.post(3...4, to: 0)
    fixture.run(worker)
    #expect(fixture.total(0) == 4)
}

@Test func `what was read with the messages of a fenced partition is counted`() throws {
    let fixture = try Fixture()
    let worker = fixture.worker(limits: PartitionState.Limits(dirtyRowCountMax: 1))
    fixture.run(worker)
    #expect(worker.ownedCount == partitions.count)
    // Somebody else takes the first partition, which is found while the second one's messages wait.
    _ = try fixture.tables.acquire(
        Claim(partition: 0, nonce: .zero, formerNonces: [], takesOwnLease: false))
    for partition in partitions { fixture.post(1...5, to: partition) }
    fixture.run(worker)
    #expect(fixture.total(1) == 5)
}

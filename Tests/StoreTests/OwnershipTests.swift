import Postgres
import PrivateServers
import Store
import Telemetry
import TestKit
import Testing
import Windowing

@Suite struct OwnershipTests {
    @Test func `a new partition begins at nothing`() throws {
        try withSchema { url in
            let store = try AggregateStore(connect(url))
            let owned = try #require(try acquire(store, owner: "a"))
            #expect(owned.standing.progress == PartitionProgress())
            #expect(owned.ownership.epoch == 1)
            #expect(owned.ownership.generation == 1)
            #expect(owned.standing.anchors == [])
            #expect(owned.standing.streamCreatedNanoseconds == nil)
        }
    }

    @Test func `a living lease is respected, its owner named`() throws {
        try withOwnedPartition { store, _, url in
            let other = try AggregateStore(connect(url))
            let answer = try other.acquirePartition(
                stream: "EVENTS", partition: 3, owner: "b", nonce: UniqueID(high: 1, low: 1),
                lease: .seconds(60))
            guard case .heldByOther("a", _) = answer else {
                Issue.record("\(answer)")
                return
            }
        }
    }

    @Test func `an owner that comes back takes its partition and fences its former self`() throws {
        try withOwnedPartition { store, former, _ in
            let owned = try #require(try acquire(store, owner: "a", nonce: 2))
            #expect(owned.ownership.epoch == former.epoch + 1)
            #expect(try !store.renew(former, committedSequence: 0))
            #expect(try !store.release(former))
            #expect(throws: FlushError.fenced) {
                try store.flush(batch(from: 0, to: 1), by: former)
            }
            #expect(try store.renew(owned.ownership, committedSequence: 0))
            #expect(try !store.renew(owned.ownership, committedSequence: 1))
        }
    }

    @Test func `a name alone takes a living lease only from its former self`() throws {
        try withOwnedPartition { store, former, _ in
            func claim(_ nonce: UInt64, former: [UniqueID]) throws -> Acquisition {
                try store.acquirePartition(
                    stream: "EVENTS", partition: 3, owner: "a",
                    nonce: UniqueID(high: 0, low: nonce),
                    formerNonces: former, takesOwnLease: false, lease: .seconds(60))
            }
            guard case .heldByOther("a", _) = try claim(7, former: [UniqueID(high: 9, low: 9)])
            else {
                Issue.record("two processes of one name would take it from each other for ever")
                return
            }
            guard case .acquired(let owned) = try claim(8, former: [former.nonce]) else {
                Issue.record("the process's own lease is refused to it")
                return
            }
            #expect(owned.standing.crashCount == 0)
        }
    }

    @Test func `owners that vanish are counted until something is committed`() throws {
        try withOwnedPartition { store, _, _ in
            for nonce in 2...4 as ClosedRange<UInt64> {
                let owned = try #require(try acquire(store, owner: "a", nonce: nonce))
                #expect(owned.standing.crashCount == Int(nonce) - 1)
            }
            let owned = try #require(try acquire(store, owner: "a", nonce: 5))
            #expect(try store.beginMessage(1, by: owned.ownership) == 1)
            #expect(try store.beginMessage(1, by: owned.ownership) == 2)
            let next = try #require(try acquire(store, owner: "a", nonce: 6))
            #expect(next.standing.begunSequence == 1)
            #expect(try store.beginMessage(1, by: owned.ownership) == nil)
            var written = batch(from: 0, to: 1)
            written.clearsCrashLedger = true
            _ = try store.flush(written, by: next.ownership)
            #expect(try store.release(next.ownership))
            let last = try #require(try acquire(store, owner: "b", nonce: 7))
            #expect(last.standing.crashCount == 0)
            #expect(last.standing.begunSequence == nil)
        }
    }

    @Test func `an acquisition knows the newest window, the lost ranges and what was trimmed`()
        throws
    {
        try withOwnedPartition { store, ownership, _ in
            let rows = ["c", "d"].map { CellRow(key: key($0), cell: Cell(), lastSequence: 4) }
            var written = batch(from: 0, to: 4, cells: rows)
            written.logCreatedNanoseconds = 77
            _ = try store.flush(written, by: ownership)
            try store.recordTrim(ofStream: "EVENTS", createdNanoseconds: 77, below: 3)
            try store.recordTrim(ofStream: "EVENTS", createdNanoseconds: 77, below: 2)
            let owned = try #require(try acquire(store, owner: "a", nonce: 2))
            #expect(owned.standing.newestWindow == key("c").window)
            #expect(owned.standing.trimmedBelow == 3)
            #expect(owned.standing.lostRangeCount == 0)
            // What was trimmed of another stream of the name says nothing of this one.
            try store.recordTrim(ofStream: "EVENTS", createdNanoseconds: 78, below: 9)
            let again = try #require(try acquire(store, owner: "a", nonce: 3))
            #expect(again.standing.trimmedBelow == 0)
        }
    }

    @Test func `living instances and owners are seen, gone ones are not`() throws {
        try withOwnedPartition { store, _, _ in
            _ = try store.shareStream("EVENTS", instance: "gone", lease: .zero)
            _ = try store.shareStream("EVENTS", instance: "b", lease: .seconds(60))
            let living = try store.shareStream("EVENTS", instance: "a", lease: .seconds(60))
            #expect(living == LivingInstances(instances: ["a", "b"], owners: [3: "a"]))
            try store.removeInstance("b")
            let left = try store.shareStream("EVENTS", instance: "a", lease: .seconds(60))
            #expect(left.instances == ["a"])
        }
    }

    @Test func `an expired lease can be taken`() throws {
        try withSchema { url in
            let store = try AggregateStore(connect(url))
            _ = try #require(try acquire(store, owner: "a", lease: .zero))
            #expect(try acquire(store, owner: "b", nonce: 2) != nil)
        }
    }

    @Test func `a released partition can be taken at once, with its progress`() throws {
        try withOwnedPartition { store, ownership, _ in
            var written = batch(from: 0, to: 9)
            let anchors = [
                LogAnchor(sequence: 9, brokerMilliseconds: .max, payloadHash: .max),
                LogAnchor(sequence: 1, brokerMilliseconds: 5, payloadHash: 0),
            ]
            written.anchors = anchors
            _ = try store.flush(written, by: ownership)
            #expect(try store.release(ownership))
            let owned = try #require(try acquire(store, owner: "b", nonce: 2))
            #expect(owned.standing.progress == written.progress)
            #expect(owned.standing.anchors == anchors)
        }
    }

    @Test func `a new generation fences the old one and records what was lost`() throws {
        try withOwnedPartition { store, ownership, url in
            let row = CellRow(key: key("c"), cell: Cell(), lastSequence: 50)
            _ = try store.flush(batch(from: 0, to: 50, cells: [row]), by: ownership)
            let next = try store.reposition(
                Reposition(
                    expectedSequence: 50, committedSequence: 20, replayFromSequence: 21,
                    countedThroughSequence: 22, startsGeneration: true,
                    streamCreatedNanoseconds: 77, anchors: [],
                    lost: [LostRange(sequences: 21...50, reason: "truncated")]),
                by: ownership)
            #expect(throws: FlushError.fenced) {
                try store.flush(batch(from: 20, to: 21), by: ownership)
            }
            // Its sequences are lower, but they are of the newer generation.
            let again = CellRow(key: key("c"), cell: Cell(), lastSequence: 21)
            let receipt = try store.flush(batch(from: 20, to: 21, cells: [again]), by: next)
            #expect(receipt == FlushReceipt())
            #expect(try store.load(cells: [key("c")]) == [again])
            let lost = try single(
                connect(url),
                "SELECT first_seq || '-' || last_seq || ' ' || reason FROM lost_ranges",
                String.self)
            #expect(lost == "21-50 truncated")
            let owned = try #require(try acquire(store, owner: "a", nonce: 3))
            #expect(owned.ownership.generation == 2)
            #expect(owned.standing.streamCreatedNanoseconds == 77)
        }
    }

    @Test func `the server's identity is known without special rights and stays over a restart`()
        throws
    {
        try withPostgresServer { server in
            let first = try identity(server.url)
            #expect(first.timeline == 1)
            #expect(!first.isInRecovery)
            try server.restart()
            #expect(try identity(server.url) == first)
        }
    }

    private func identity(_ url: String) throws -> ServerIdentity {
        let connection = try connect(url)
        _ = try Schema().migrate(connection)
        return try AggregateStore(connection).serverIdentity()
    }
}

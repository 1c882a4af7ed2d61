internal import AggregatorCore
internal import Windowing

/// One worker's reader of the broker, with the contract of `EventLog`.
final class SimulatedLog: EventLog {
    private struct Cursor {
        var next: UInt64
        /// Received and not returned yet.
        var buffer: [StoredMessage] = []
        var connectionEpoch: Int?
        var createdNanoseconds: Int64?
        var readingCount = 0
        var discontinuity: String?
        var isCaughtUp = false
        /// Everything returned since it was opened.
        var returned: [StoredMessage] = []
    }

    private unowned let world: World
    private unowned let host: SimulatedHost
    private var cursors: [Cursor?]
    private let batchSize: Int

    init(world: World, host: SimulatedHost) {
        self.world = world
        self.host = host
        cursors = Array(repeating: nil, count: world.partitionCount)
        batchSize = Int(world.pick(1...12))
    }

    /// What was returned of a partition with sequences in `range`.
    func returned(of partition: Int, in range: Range<UInt64>) -> [StoredMessage] {
        cursors[partition]?.returned.filter { range.contains($0.sequence &- 1) } ?? []
    }

    private func ask<Value>(_ call: World.Call, _ body: () -> Value) throws(EventLogError) -> Value {
        guard host.isAlive else { throw EventLogError("the process is dead") }
        switch world.strike(host, call) {
        case .crashBefore, .crashAfter:
            world.crash(host.instance)
            throw EventLogError("the process is dead")
        case .lostBefore, .lostAfter: throw EventLogError("the connection was lost")
        case .freezeBefore, .freezeAfter:
            world.freeze(host)
            guard host.isAlive else { throw EventLogError("the process is dead") }
        case nil: break
        }
        if world.broker.isDown { throw EventLogError("the broker is down") }
        return body()
    }

    func extent() throws(EventLogError) -> LogExtent {
        try ask(.extent) {
            LogExtent(
                createdNanoseconds: world.broker.createdNanoseconds,
                firstSequence: world.broker.firstSequence,
                lastSequence: world.broker.lastSequence)
        }
    }

    func anchor(at sequence: UInt64) throws(EventLogError) -> LogAnchor? {
        try ask(.anchor) { world.broker.message(at: sequence)?.anchor }
    }

    func open(partition: Int, from sequence: UInt64) throws(EventLogError) {
        guard host.isAlive else { throw EventLogError("the process is dead") }
        cursors[partition] = Cursor(next: max(1, sequence))
    }

    func close(partition: Int) {
        cursors[partition] = nil
    }

    func read(until deadline: ContinuousClock.Instant) throws(EventLogError) -> [LogMessage] {
        try ask(.read) {}
        var result: [StoredMessage] = []
        for partition in cursors.indices where cursors[partition] != nil {
            take(partition, &result)
            if !world.broker.isDown {
                reconnect(partition)
                fetch(partition)
            }
        }
        // A new consumer may answer within the same call.
        if result.isEmpty, world.chance(50) {
            for partition in cursors.indices where cursors[partition] != nil {
                take(partition, &result)
                fetch(partition)
            }
        }
        if result.isEmpty {
            for partition in cursors.indices {
                if let discontinuity = cursors[partition]?.discontinuity {
                    world.coverage.discontinuities += 1
                    throw EventLogError("partition \(partition): \(discontinuity)")
                }
            }
        }
        world.coverage.messagesRead += result.count
        return result.map(\.logMessage)
    }

    private func take(_ partition: Int, _ result: inout [StoredMessage]) {
        guard var cursor = cursors[partition], let last = cursor.buffer.last else { return }
        result += cursor.buffer
        cursor.returned += cursor.buffer
        cursor.next = last.sequence + 1
        cursor.buffer = []
        cursors[partition] = cursor
    }

    /// Makes a lost consumer anew, if the stream goes on where it was left.
    private func reconnect(_ partition: Int) {
        let broker = world.broker
        guard var cursor = cursors[partition], cursor.discontinuity == nil,
            cursor.connectionEpoch != broker.connectionEpoch + host.readerEpoch
        else { return }
        if let known = cursor.createdNanoseconds, known != broker.createdNanoseconds {
            cursor.discontinuity = "the stream was made anew"
        } else if broker.lastSequence < cursor.next - 1 {
            cursor.discontinuity = "the stream went back to \(broker.lastSequence)"
        } else {
            cursor.createdNanoseconds = broker.createdNanoseconds
            cursor.connectionEpoch = broker.connectionEpoch + host.readerEpoch
            if world.mutation != .readerNotCompared || cursor.readingCount == 0 {
                cursor.readingCount += 1
            }
        }
        cursor.isCaughtUp = false
        cursors[partition] = cursor
    }

    private func fetch(_ partition: Int) {
        let broker = world.broker
        guard var cursor = cursors[partition], cursor.discontinuity == nil, cursor.buffer.isEmpty,
            cursor.connectionEpoch == broker.connectionEpoch + host.readerEpoch
        else { return }
        let from = Int(max(cursor.next, broker.firstSequence)) - 1
        for message in broker.branch.dropFirst(from) where message.draft.partition == partition {
            cursor.buffer.append(message)
            if cursor.buffer.count == batchSize { break }
        }
        cursor.isCaughtUp = cursor.buffer.isEmpty
        cursors[partition] = cursor
    }

    func readingCount(of partition: Int) -> Int { cursors[partition]?.readingCount ?? 0 }

    func isCaughtUp(partition: Int) -> Bool { cursors[partition]?.isCaughtUp ?? false }
}

internal import AggregatorCore
internal import Store
internal import Telemetry
internal import Windowing

/// One worker's connection to the database.
final class SimulatedTables: AggregateTables {
    private unowned let world: World
    private unowned let host: SimulatedHost
    private let log: SimulatedLog
    private var connectionEpoch: Int
    /// For the mutation that sends a commit again.
    private var unanswered: (batch: FlushBatch, ownership: Ownership, read: [StoredMessage])?
    /// For the mutation that takes an unknown outcome for done.
    private var comparesProgress = true

    init(world: World, host: SimulatedHost, log: SimulatedLog) {
        self.log = log
        self.world = world
        self.host = host
        connectionEpoch = world.database.connectionEpoch
    }

    private var database: SimulatedDatabase { world.database }
    private var now: Int64 { world.databaseClock.wallMilliseconds }
    private var leaseUntil: Int64 { now + World.leaseMilliseconds }
    private static let dead = TablesError.unavailable("the process is dead")

    private func requireConnection() throws(TablesError) {
        guard host.isAlive else { throw Self.dead }
        if connectionEpoch != database.connectionEpoch {
            connectionEpoch = database.connectionEpoch
            throw .unavailable("the connection was lost")
        }
        if database.isDown { throw .unavailable("the database is down") }
    }

    private func ask<Value>(
        _ call: World.Call, writes: Bool = false, _ effect: () throws(TablesError) -> Value
    ) throws(TablesError) -> Value {
        guard host.isAlive else { throw Self.dead }
        // A pooler in between may hide that the server is another one.
        if connectionEpoch != database.connectionEpoch, world.chance(25) {
            connectionEpoch = database.connectionEpoch
            world.coverage.silentReconnects += 1
        }
        try requireConnection()
        let strike = world.strike(host, call)
        switch strike {
        case .crashBefore:
            world.crash(host.instance)
            throw Self.dead
        case .lostBefore:
            if writes, world.chance(50) {
                world.coverage.unknownNotDone += 1
                throw .unknownOutcome("lost before the effect")
            }
            throw .unavailable("the connection was lost")
        case .freezeBefore:
            world.freeze(host)
            try requireConnection()
        default: break
        }
        let value = try effect()
        guard host.isAlive else { throw Self.dead }
        switch strike {
        case .crashAfter:
            world.crash(host.instance)
            throw Self.dead
        case .lostAfter:
            if writes {
                world.coverage.unknownDone += 1
                throw .unknownOutcome("lost after the effect")
            }
            throw .unavailable("the connection was lost")
        case .freezeAfter:
            world.freeze(host)
            do throws(TablesError) {
                try requireConnection()
            } catch {
                throw writes && host.isAlive ? .unknownOutcome("lost after the effect") : error
            }
        default: break
        }
        return value
    }

    // MARK: Sharing

    func share() throws(TablesError) -> SharingView {
        try ask(.share) {
            let me = host.instance.id
            let until = leaseUntil
            database.commit { $0.instances[me] = until }
            let now = now
            var view = SharingView(me: me, instances: [], owners: [:])
            view.instances = Set(database.rows.instances.filter { $0.value > now }.keys)
            for (partition, row) in database.rows.partitions.enumerated() {
                guard row.nonce != nil, let owner = row.owner, let until = row.leaseExpiresAt,
                    until > now
                else { continue }
                view.owners[partition] = owner
            }
            return view
        }
    }

    func leave() throws(TablesError) {
        try ask(.share) {
            let me = host.instance.id
            database.commit { $0.instances[me] = nil }
        }
    }

    // MARK: Owning

    func acquire(_ claim: Claim) throws(TablesError) -> ClaimOutcome {
        try ask(.acquire) {
            let partition = claim.partition
            let row = database.rows.partitions[partition]
            let me = host.instance.id
            let isFree = row.nonce == nil
            let isExpired = row.leaseExpiresAt.map { $0 <= now } ?? true
            let isCallers = row.nonce.map { claim.formerNonces.contains($0) } ?? false
            guard isFree || isExpired || isCallers || (claim.takesOwnLease && row.owner == me)
            else {
                world.coverage.heldByOther += 1
                return .heldByOther(row.owner ?? "")
            }
            let until = leaseUntil
            database.commit { rows in
                rows.partitions[partition].owner = me
                rows.partitions[partition].nonce = claim.nonce
                rows.partitions[partition].epoch += 1
                rows.partitions[partition].leaseExpiresAt = until
                if !isFree, !isCallers {
                    rows.ledger[partition][row.progress.committedSequence, default: 0] += 1
                }
            }
            world.note("\(host.name) owns partition \(partition)")
            world.coverage.acquisitions += 1
            if !isFree, !isCallers, row.owner != me { world.coverage.takeovers += 1 }
            let taken = database.rows.partitions[partition]
            return .owned(
                Ownership(
                    partition: partition, generation: taken.generation, nonce: claim.nonce,
                    epoch: taken.epoch),
                standing(of: partition))
        }
    }

    private func standing(of partition: Int) -> PartitionStanding {
        let rows = database.rows
        let row = rows.partitions[partition]
        var standing = PartitionStanding(
            progress: row.progress, streamCreatedNanoseconds: row.createdNanoseconds,
            anchors: row.anchors, newestWindow: rows.newestWindows[partition],
            crashCount: rows.ledger[partition][row.progress.committedSequence] ?? 0,
            begunSequence: rows.ledger[partition].keys.filter {
                $0 > row.progress.committedSequence
            }.max(), lostRangeCount: rows.lost[partition].count)
        for (key, reason) in rows.letters
        where key.partition == partition && key.index == -1
            && key.sequence >= row.progress.replayFromSequence
            && reason == DeadLetter.crashesItsReader
        {
            standing.crashingSequences.insert(key.sequence)
        }
        if let trim = rows.trim, trim.createdNanoseconds == row.createdNanoseconds {
            standing.trimmedBelow = trim.below
        }
        switch world.mutation {
        case .noAnchors:
            standing.anchors = []
            standing.streamCreatedNanoseconds = nil
        case .noReplay:
            standing.progress.replayFromSequence = standing.progress.committedSequence + 1
        case .noNewestWindow: standing.newestWindow = nil
        case .noCountedThrough: standing.progress.countedThroughSequence = 0
        default: break
        }
        return standing
    }

    func renew(_ ownership: Ownership, committedSequence: UInt64) throws(TablesError) {
        try ask(.renew, writes: true) { () throws(TablesError) in
            try requireHeld(ownership)
            let progress = database.rows.partitions[ownership.partition].progress
            guard progress.committedSequence == committedSequence else {
                throw .fenced(partition: ownership.partition)
            }
            let until = leaseUntil
            database.commit { $0.partitions[ownership.partition].leaseExpiresAt = until }
        }
    }

    func release(_ ownership: Ownership) throws(TablesError) {
        try ask(.release, writes: true) {
            guard database.rows.partitions[ownership.partition].isHeld(under: ownership) else {
                return
            }
            world.coverage.releases += 1
            world.note("\(host.name) releases partition \(ownership.partition)")
            database.commit { rows in
                rows.partitions[ownership.partition].owner = nil
                rows.partitions[ownership.partition].nonce = nil
                rows.partitions[ownership.partition].leaseExpiresAt = nil
            }
        }
    }

    private func requireHeld(_ ownership: Ownership) throws(TablesError) {
        guard database.rows.partitions[ownership.partition].isHeld(under: ownership) else {
            world.coverage.fenced += 1
            throw .fenced(partition: ownership.partition)
        }
    }

    func reposition(
        _ move: Reposition, under ownership: Ownership
    ) throws(TablesError) -> Ownership {
        let next = try ask(.reposition, writes: true) { () throws(TablesError) in
            try requireHeld(ownership)
            let partition = ownership.partition
            let found = database.rows.partitions[partition]
            guard found.progress.committedSequence == move.expectedSequence else {
                world.coverage.fenced += 1
                throw .fenced(partition: partition)
            }
            world.didMove(move, partition)
            let generation = ownership.generation + (move.startsGeneration ? 1 : 0)
            database.commit { rows in
                rows.partitions[partition].generation = generation
                rows.partitions[partition].progress.committedSequence = move.committedSequence
                rows.partitions[partition].progress.replayFromSequence = move.replayFromSequence
                rows.partitions[partition].progress.countedThroughSequence =
                    move.countedThroughSequence
                rows.partitions[partition].createdNanoseconds = move.streamCreatedNanoseconds
                rows.partitions[partition].anchors = move.anchors
                rows.lost[partition] += move.lost
                rows.ledger[partition] = [:]
                if move.startsGeneration, let trim = rows.trim,
                    trim.below > move.committedSequence + 1
                {
                    rows.trim?.below = move.committedSequence + 1
                }
            }
            return Ownership(
                partition: partition, generation: generation, nonce: ownership.nonce,
                epoch: ownership.epoch)
        }
        // What the move itself said must not reach the core's memory.
        if world.mutation == .noCountedThrough {
            throw .unknownOutcome("for the mutation")
        }
        return next
    }

    func beginMessage(
        _ sequence: UInt64, under ownership: Ownership
    ) throws(TablesError) -> Int {
        try ask(.begin, writes: true) { () throws(TablesError) in
            try requireHeld(ownership)
            let partition = ownership.partition
            database.commit { $0.ledger[partition][sequence, default: 0] += 1 }
            world.beginCounts[sequence, default: 0] += 1
            world.coverage.messagesBegun += 1
            return database.rows.ledger[partition][sequence] ?? 0
        }
    }

    // MARK: Rows

    func load(
        cells: [CellKey], sessions: [SessionKey]
    ) throws(TablesError) -> (cells: [CellRow], sessions: [SessionRow]) {
        try ask(.load) {
            let found = cells.compactMap { database.rows.cells[$0]?.row }
            let known = sessions.compactMap { database.rows.sessions[$0]?.row }
            world.coverage.rowsLoaded += found.count + known.count
            return (found, world.mutation == .sessionsNotLoaded ? [] : known)
        }
    }

    func flush(_ batch: FlushBatch, under ownership: Ownership) throws(TablesError) {
        let partition = ownership.partition
        let read = log.returned(
            of: partition, in: batch.expectedSequence..<batch.progress.committedSequence)
        let setAside = Set(batch.deadLetters.filter { $0.index == -1 }.map(\.sequence))
        if host.isAlive,
            read.contains(where: { $0.draft.kind == .lethal && !setAside.contains($0.sequence) })
        {
            world.coverage.lethalDeaths += 1
            world.crash(host.instance)
            throw Self.dead
        }
        if let late = unanswered {
            unanswered = nil
            sendAgain(late.batch, late.ownership, late.read)
        }
        do throws(TablesError) {
            try ask(.flush, writes: true) { () throws(TablesError) in
                let row = database.rows.partitions[partition]
                let isHeld =
                    row.isHeld(under: ownership)
                    && (row.progress.committedSequence == batch.expectedSequence
                        || !comparesProgress)
                guard isHeld || world.mutation == .noFence else {
                    world.coverage.fenced += 1
                    throw .fenced(partition: partition)
                }
                write(batch, ownership, read)
            }
        } catch {
            guard case .unknownOutcome = error else { throw error }
            switch world.mutation {
            case .unknownTakenForDone:
                comparesProgress = false
                return
            case .unknownSentAgain: unanswered = (batch, ownership, read)
            default: break
            }
            throw error
        }
    }

    /// As whoever retries blindly does: nothing is compared.
    private func sendAgain(_ batch: FlushBatch, _ ownership: Ownership, _ read: [StoredMessage]) {
        let partition = ownership.partition
        let row = database.rows.partitions[partition]
        if row.isHeld(under: ownership), row.progress.committedSequence == batch.expectedSequence {
            return write(batch, ownership, read)
        }
        let until = leaseUntil
        database.commit { rows in
            rows.writeProgress(batch, partition, leaseUntil: until)
            _ = rows.writeRows(batch, partition, ownership.generation)
        }
    }

    private func write(_ batch: FlushBatch, _ ownership: Ownership, _ read: [StoredMessage]) {
        let partition = ownership.partition
        let until = leaseUntil
        world.willFlush(batch, ownership, by: host)
        if world.mutation == .progressBeforeRows {
            database.commit { $0.writeProgress(batch, partition, leaseUntil: until) }
            if world.chance(10) {
                world.crash(host.instance)
                return
            }
        }
        var blocked = 0
        let generation = ownership.generation
        database.commit { rows in
            rows.writeProgress(batch, partition, leaseUntil: until)
            _ = rows.writeRows(batch, partition, generation)
            rows.commitCount += 1
        }
        for row in batch.cells where database.rows.cells[row.key]?.row != row { blocked += 1 }
        for row in batch.sessions where database.rows.sessions[row.key]?.row != row {
            blocked += 1
        }
        world.didFlush(batch, partition, read, blocked: blocked)
    }
}

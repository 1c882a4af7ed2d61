internal import Bus
internal import Logging
internal import Postgres
internal import Store
internal import Telemetry
internal import Windowing

/// The tables in PostgreSQL.
final class StoreTables: AggregateTables {
    private let database: StoreConnection
    private let owner: String
    private let lease: Duration
    private let metrics: AggregatorMetrics
    private let logger: Logger
    private var ownerships: [Ownership: PartitionOwnership] = [:]
    /// The days that are known to have a partition of `agg_1m`, as of `preparedConnection`.
    private var preparedDays: Set<Int64> = []
    private var preparedConnection = 0

    /// - Parameter owner: Names the instance to operators.
    init(
        database: StoreConnection, owner: String, lease: Duration, metrics: AggregatorMetrics,
        logger: Logger
    ) {
        self.database = database
        self.owner = owner
        self.lease = lease
        self.metrics = metrics
        self.logger = logger
    }

    func share() throws(TablesError) -> SharingView {
        let living = try database.perform { store throws(PostgresError) in
            try store.shareStream(BusStream.events, instance: owner, lease: lease)
        }
        return SharingView(me: owner, instances: living.instances, owners: living.owners)
    }

    func leave() throws(TablesError) {
        try database.perform { store throws(PostgresError) in try store.removeInstance(owner) }
    }

    func acquire(_ claim: Claim) throws(TablesError) -> ClaimOutcome {
        let acquisition = try database.perform { store throws(PostgresError) in
            try store.acquirePartition(
                stream: BusStream.events, partition: claim.partition, owner: owner,
                nonce: claim.nonce, formerNonces: claim.formerNonces,
                takesOwnLease: claim.takesOwnLease, lease: lease)
        }
        switch acquisition {
        case .heldByOther(let owner, _):
            return .heldByOther(owner)
        case .acquired(let owned):
            return .owned(remember(owned.ownership), owned.standing)
        }
    }

    private func remember(_ fence: PartitionOwnership) -> Ownership {
        let ownership = Ownership(
            partition: fence.partition, generation: fence.generation, nonce: fence.nonce,
            epoch: fence.epoch)
        for old in ownerships.keys where old.partition == fence.partition { ownerships[old] = nil }
        ownerships[ownership] = fence
        return ownership
    }

    func reposition(
        _ move: Reposition, under ownership: Ownership
    ) throws(TablesError) -> Ownership {
        let fence = try fence(of: ownership)
        let next = try database.performFlush(partition: ownership.partition) {
            store throws(FlushError) in try store.reposition(move, by: fence)
        }
        return remember(next)
    }

    func beginMessage(
        _ sequence: UInt64, under ownership: Ownership
    ) throws(TablesError) -> Int {
        let fence = try fence(of: ownership)
        let begun = try database.perform { store throws(PostgresError) in
            try store.beginMessage(sequence, by: fence)
        }
        guard let begun else { throw .fenced(partition: ownership.partition) }
        return begun
    }

    private func fence(of ownership: Ownership) throws(TablesError) -> PartitionOwnership {
        guard let fence = ownerships[ownership] else {
            throw .fenced(partition: ownership.partition)
        }
        return fence
    }

    func renew(_ ownership: Ownership, committedSequence: UInt64) throws(TablesError) {
        let fence = try fence(of: ownership)
        let isOurs = try database.perform { store throws(PostgresError) in
            try store.renew(fence, committedSequence: committedSequence)
        }
        guard isOurs else { throw .fenced(partition: ownership.partition) }
    }

    func release(_ ownership: Ownership) throws(TablesError) {
        let fence = try fence(of: ownership)
        ownerships[ownership] = nil
        _ = try database.perform { store throws(PostgresError) in try store.release(fence) }
    }

    func load(
        cells: [CellKey], sessions: [SessionKey]
    ) throws(TablesError) -> (cells: [CellRow], sessions: [SessionRow]) {
        try database.perform { store throws(PostgresError) in
            (
                cells.isEmpty ? [] : try store.load(cells: cells),
                sessions.isEmpty ? [] : try store.load(sessions: sessions)
            )
        }
    }

    func flush(_ batch: FlushBatch, under ownership: Ownership) throws(TablesError) {
        let fence = try fence(of: ownership)
        try prepareDays(of: batch)
        let receipt = try database.performFlush(partition: ownership.partition) {
            store throws(FlushError) in try store.flush(batch, by: fence)
        }
        let blocked = receipt.blockedCells + receipt.blockedSessions
        if blocked > 0 {
            metrics.countBlockedRows(blocked)
            logger.error(
                "rows in the tables are newer than this owner's",
                metadata: [
                    "partition": "\(ownership.partition)", "cells": "\(receipt.blockedCells)",
                    "sessions": "\(receipt.blockedSessions)",
                ])
        }
    }

    /// Makes the day partitions that the batch needs; nearly always they are there.
    private func prepareDays(of batch: FlushBatch) throws(TablesError) {
        if preparedConnection != database.connectionCount {
            preparedConnection = database.connectionCount
            preparedDays = []
        }
        let minutesPerDay: Int64 = 24 * 60
        var missing: Set<Int64> = []
        for row in batch.cells {
            let minute = row.key.window.minute
            let day = (minute >= 0 ? minute : minute - minutesPerDay + 1) / minutesPerDay
            if !preparedDays.contains(day) { missing.insert(day) }
        }
        for day in missing.sorted() {
            try database.perform { store throws(PostgresError) in
                try store.ensurePartition(ofDay: day)
            }
            preparedDays.insert(day)
        }
    }
}

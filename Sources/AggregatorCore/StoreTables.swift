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
    private let logger: Logger
    private var ownerships: [Ownership: PartitionOwnership] = [:]
    /// The days that are known to have a partition of `agg_1m`, as of `preparedConnection`.
    private var preparedDays: Set<Int64> = []
    private var preparedConnection = 0

    /// - Parameter owner: Names the instance to operators.
    init(database: StoreConnection, owner: String, lease: Duration, logger: Logger) {
        self.database = database
        self.owner = owner
        self.lease = lease
        self.logger = logger
    }

    func acquire(partition: Int, nonce: UniqueID) throws(TablesError) -> Acquisition {
        let acquisition = try database.perform { store throws(PostgresError) in
            try store.acquirePartition(
                stream: BusStream.events, partition: partition, owner: owner, nonce: nonce,
                lease: lease)
        }
        switch acquisition {
        case .heldByOther(let owner, _):
            return .heldByOther(owner)
        case .acquired(let owned):
            let ownership = Ownership(
                partition: partition, nonce: nonce, epoch: owned.ownership.epoch)
            for old in ownerships.keys where old.partition == partition { ownerships[old] = nil }
            ownerships[ownership] = owned.ownership
            return .owned(ownership, owned.progress)
        }
    }

    private func fence(of ownership: Ownership) throws(TablesError) -> PartitionOwnership {
        guard let fence = ownerships[ownership] else {
            throw .fenced(partition: ownership.partition)
        }
        return fence
    }

    func renew(_ ownership: Ownership) throws(TablesError) {
        let fence = try fence(of: ownership)
        let isOurs = try database.perform { store throws(PostgresError) in
            try store.renew(fence)
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
        guard receipt.blockedCells + receipt.blockedSessions == 0 else {
            logger.error(
                "rows in the tables are newer than this owner's",
                metadata: [
                    "partition": "\(ownership.partition)", "cells": "\(receipt.blockedCells)",
                    "sessions": "\(receipt.blockedSessions)",
                ])
            return
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

internal import Logging
internal import Postgres
internal import ServiceKit
internal import Store
internal import Telemetry
internal import Windowing

/// The tables in PostgreSQL, behind one connection that is made anew after it broke.
final class StoreTables: AggregateTables {
    /// How to reach the database, and as whom.
    struct Settings: Sendable {
        var url: PostgresConnectionString
        /// Names the instance to operators.
        var owner: String
        var stream: String
        var lease: Duration
    }

    private let settings: Settings
    private let interrupt: PostgresInterrupt
    private let health: HealthRegistry
    private let logger: Logger
    private var store: AggregateStore?
    private var ownerships: [Ownership: PartitionOwnership] = [:]
    private var identity: ServerIdentity?
    /// The days that are known to have a partition of `agg_1m`.
    private var preparedDays: Set<Int64> = []

    init(
        _ settings: Settings, interrupt: PostgresInterrupt, health: HealthRegistry, logger: Logger
    ) {
        self.settings = settings
        self.interrupt = interrupt
        self.health = health
        self.logger = logger
    }

    // MARK: Connection

    private func connected() throws(TablesError) -> AggregateStore {
        if let store { return store }
        let opened = try attempt { () throws(PostgresError) in
            let connection = try PostgresConnection(to: settings.url, interrupt: interrupt)
            return (connection, try AggregateStore(connection))
        }
        do throws(SchemaError) {
            try Schema().requireCurrent(opened.0)
        } catch {
            report(failing: error.description)
            throw .unavailable(error.description)
        }
        let found = try attempt { () throws(PostgresError) in try opened.1.serverIdentity() }
        try check(found)
        identity = found
        preparedDays = []
        store = opened.1
        health.report("postgres", .ready)
        logger.info("connected to PostgreSQL", metadata: ["host": "\(opened.0.host ?? "")"])
        return opened.1
    }

    /// A lower timeline is a primary that was left behind by a failover: what it would take is lost.
    private func check(_ found: ServerIdentity) throws(TablesError) {
        guard let known = identity else { return }
        let reason: String
        if found.systemIdentifier != known.systemIdentifier {
            reason = "another database cluster answers under the same name; restart to accept it"
        } else if found.timeline < known.timeline {
            reason =
                "the server is on timeline \(found.timeline), a newer primary was seen on "
                + "\(known.timeline): it was left behind by a failover"
        } else {
            return
        }
        report(failing: reason)
        throw .unavailable(reason)
    }

    private func attempt<Value>(
        _ body: () throws(PostgresError) -> Value
    ) throws(TablesError) -> Value {
        do {
            return try body()
        } catch {
            throw failure(error)
        }
    }

    /// What a failure means, after forgetting a connection that is of no more use.
    private func failure(_ error: PostgresError) -> TablesError {
        if error.needsNewConnection {
            store = nil
        }
        report(failing: error.description)
        switch error.retry {
        case .retriable: return .unavailable(error.description)
        case .unknownOutcome: return .unknownOutcome(error.description)
        case .permanent: return .refused(error.description)
        }
    }

    private func report(failing reason: String) {
        health.report("postgres", .failing(reason: reason))
    }

    // MARK: AggregateTables

    func acquire(partition: Int, nonce: UniqueID) throws(TablesError) -> Acquisition {
        let store = try connected()
        let acquired = try attempt { () throws(PostgresError) in
            try store.acquirePartition(
                stream: settings.stream, partition: partition, owner: settings.owner, nonce: nonce,
                lease: settings.lease)
        }
        switch acquired {
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
        let store = try connected()
        let fence = try fence(of: ownership)
        let isOurs = try attempt { () throws(PostgresError) in
            try store.renew(fence, activity: .running)
        }
        guard isOurs else { throw .fenced(partition: ownership.partition) }
    }

    func release(_ ownership: Ownership) throws(TablesError) {
        let store = try connected()
        let fence = try fence(of: ownership)
        ownerships[ownership] = nil
        _ = try attempt { () throws(PostgresError) in try store.release(fence) }
    }

    func load(
        cells: [CellKey], sessions: [SessionKey]
    ) throws(TablesError) -> (cells: [CellRow], sessions: [SessionRow]) {
        let store = try connected()
        return try attempt { () throws(PostgresError) in
            (
                cells.isEmpty ? [] : try store.load(cells: cells),
                sessions.isEmpty ? [] : try store.load(sessions: sessions)
            )
        }
    }

    func flush(_ batch: FlushBatch, under ownership: Ownership) throws(TablesError) {
        let store = try connected()
        let fence = try fence(of: ownership)
        try prepareDays(of: batch, in: store)
        do throws(FlushError) {
            let receipt = try store.flush(batch, by: fence)
            if receipt.blockedCells + receipt.blockedSessions > 0 {
                logger.error(
                    "rows in the tables are newer than this owner's",
                    metadata: [
                        "partition": "\(ownership.partition)", "cells": "\(receipt.blockedCells)",
                        "sessions": "\(receipt.blockedSessions)",
                    ])
            }
        } catch {
            switch error {
            case .fenced: throw .fenced(partition: ownership.partition)
            case .unknownOutcome(let cause), .failed(let cause): throw failure(cause)
            }
        }
    }

    /// Makes the day partitions that the batch needs; nearly always they are there.
    private func prepareDays(of batch: FlushBatch, in store: AggregateStore) throws(TablesError) {
        let minutesPerDay: Int64 = 24 * 60
        var missing: Set<Int64> = []
        for row in batch.cells {
            let minute = row.key.window.minute
            let day = (minute >= 0 ? minute : minute - minutesPerDay + 1) / minutesPerDay
            if !preparedDays.contains(day) { missing.insert(day) }
        }
        for day in missing.sorted() {
            try attempt { () throws(PostgresError) in try store.ensurePartition(ofDay: day) }
            preparedDays.insert(day)
        }
    }
}

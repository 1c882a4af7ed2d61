package import Telemetry
package import Windowing

/// The tables that hold a partition's rows and progress.
///
/// Blocking; used from one owned thread.
package protocol AggregateTables: AnyObject {
    /// Takes `partition` over with the fresh nonce `nonce`, and reads where it stands.
    func acquire(partition: Int, nonce: UniqueID) throws(TablesError) -> Acquisition

    /// Extends the lease of a partition that has nothing to write.
    func renew(_ ownership: Ownership) throws(TablesError)

    /// Gives a partition back, so that another instance need not wait for the lease to end.
    func release(_ ownership: Ownership) throws(TablesError)

    /// The rows that exist among those asked for.
    func load(
        cells: [CellKey], sessions: [SessionKey]
    ) throws(TablesError) -> (cells: [CellRow], sessions: [SessionRow])

    /// Writes `batch` in one transaction under the fence of `ownership`, and extends the lease.
    func flush(_ batch: FlushBatch, under ownership: Ownership) throws(TablesError)
}

/// The right to write a partition, as the fence checks it.
package struct Ownership: Hashable, Sendable {
    package let partition: Int
    /// Random per acquisition: two owners can share an epoch after a failover that lost one of their
    /// acquisitions, never a nonce.
    package let nonce: UniqueID
    package let epoch: Int64

    package init(partition: Int, nonce: UniqueID, epoch: Int64) {
        self.partition = partition
        self.nonce = nonce
        self.epoch = epoch
    }
}

/// What trying to take a partition over came to.
package enum Acquisition: Sendable {
    case owned(Ownership, PartitionProgress)
    /// Another instance's lease has not ended.
    case heldByOther(String)
}

/// Why the tables refused; in every case the partition's state in memory is dropped.
package enum TablesError: Error, Sendable, CustomStringConvertible {
    /// Another owner has taken over, or progress is not what this owner believes.
    case fenced(partition: Int)
    /// The connection broke with the commit under way: only the rows can tell.
    case unknownOutcome(String)
    /// Not reachable, shutting down, or read-only: wait and try again.
    case unavailable(String)
    /// The database understood and refused: waiting alone will not help.
    case refused(String)

    package var description: String {
        switch self {
        case .fenced(let partition):
            "partition \(partition) has another owner, or its progress was changed by another"
        case .unknownOutcome(let reason): "the outcome of a commit is unknown: \(reason)"
        case .unavailable(let reason): "PostgreSQL is not available: \(reason)"
        case .refused(let reason): "PostgreSQL refused: \(reason)"
        }
    }
}

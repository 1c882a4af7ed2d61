package import Store
package import Telemetry
package import Windowing

/// The tables that hold a partition's rows and progress.
///
/// Blocking; used from one owned thread.
package protocol AggregateTables: AnyObject {
    /// Says that this instance lives and works, and reads which others do and what each owns.
    func share() throws(TablesError) -> SharingView

    /// Says that this instance is leaving, so that others need not wait for it.
    func leave() throws(TablesError)

    /// Takes a partition over, and reads where it stands.
    func acquire(_ claim: Claim) throws(TablesError) -> ClaimOutcome

    /// Extends the lease of a partition that has nothing to write, if its progress is still what the owner believes:
    /// a failover may have lost commits and kept the owner.
    func renew(_ ownership: Ownership, committedSequence: UInt64) throws(TablesError)

    /// Gives a partition back, so that another instance need not wait for the lease to end.
    func release(_ ownership: Ownership) throws(TablesError)

    /// Moves a partition's progress to where its log goes on, after ``LogCheck`` found that it does not continue
    /// at `committed_seq`; records what is lost.
    ///
    /// - Returns: the right to write from now on.
    func reposition(
        _ move: Reposition, under ownership: Ownership
    ) throws(TablesError) -> Ownership

    /// Records that counting the message `sequence` begins, for the case that it never ends.
    ///
    /// - Returns: how often it has begun, this time included.
    func beginMessage(
        _ sequence: UInt64, under ownership: Ownership
    ) throws(TablesError) -> Int

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
    /// Sequences compare within one generation of the log only.
    package let generation: Int32
    /// Random per acquisition: two owners can share an epoch after a failover that lost one of their
    /// acquisitions, never a nonce.
    package let nonce: UniqueID
    package let epoch: Int64

    package init(partition: Int, generation: Int32, nonce: UniqueID, epoch: Int64) {
        self.partition = partition
        self.generation = generation
        self.nonce = nonce
        self.epoch = epoch
    }
}

/// A try to take a partition over.
package struct Claim: Hashable, Sendable {
    package let partition: Int
    /// 128 fresh random bits.
    package let nonce: UniqueID
    /// Nonces that this process gave out for the partition before: a lease under one of them is its own.
    package let formerNonces: [UniqueID]
    /// Whether a living lease in the instance's own name may be taken, as after its restart. Not a second
    /// time: two processes of one name would take the partition from each other for ever.
    package let takesOwnLease: Bool

    package init(
        partition: Int, nonce: UniqueID, formerNonces: [UniqueID], takesOwnLease: Bool
    ) {
        self.partition = partition
        self.nonce = nonce
        self.formerNonces = formerNonces
        self.takesOwnLease = takesOwnLease
    }
}

/// What trying to take a partition over came to.
package enum ClaimOutcome: Sendable {
    case owned(Ownership, PartitionStanding)
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

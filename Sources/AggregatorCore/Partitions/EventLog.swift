package import Windowing

/// The log that partitions are read from.
///
/// Blocking; used from one owned thread. What it returns per partition is in order and without holes: an
/// implementation that cannot tell throws.
package protocol EventLog: AnyObject {
    /// What the log holds at this moment.
    func extent() throws(EventLogError) -> LogExtent

    /// The message stored under a sequence, of whatever partition, as an anchor; nil when there is none.
    func anchor(at sequence: UInt64) throws(EventLogError) -> LogAnchor?

    /// Begins to read `partition` with the message `sequence`.
    func open(partition: Int, from sequence: UInt64) throws(EventLogError)

    /// Ends reading `partition`; messages that wait are dropped.
    func close(partition: Int)

    /// The next messages of all open partitions, in order per partition; empty when none came
    /// before `deadline`.
    func read(until deadline: ContinuousClock.Instant) throws(EventLogError) -> [LogMessage]

    /// Counts how often reading an open partition had to begin anew, as after a lost connection.
    ///
    /// While it stays the same, what is read continues what was read before. When a call of ``read(until:)`` has
    /// changed it, what that call returned is still from before, and what comes next may be from another log:
    /// an anchor must tell.
    func readingCount(of partition: Int) -> Int

    /// Whether everything that was stored when the log was last asked has been returned.
    func isCaughtUp(partition: Int) -> Bool
}

/// What a log holds.
package struct LogExtent: Hashable, Sendable {
    /// When the log was made, Unix nanoseconds: another time is another log.
    package var createdNanoseconds: Int64
    /// The first sequence that is still there; one more than the last when nothing is.
    package var firstSequence: UInt64
    /// The newest sequence; 0 when there never was one.
    package var lastSequence: UInt64

    package init(createdNanoseconds: Int64, firstSequence: UInt64, lastSequence: UInt64) {
        self.createdNanoseconds = createdNanoseconds
        self.firstSequence = firstSequence
        self.lastSequence = lastSequence
    }
}

/// A message as it stands in the log.
package struct LogMessage: Sendable {
    package let partition: Int
    package let position: PartitionState.Position
    package let payload: [UInt8]

    package init(partition: Int, position: PartitionState.Position, payload: [UInt8]) {
        self.partition = partition
        self.position = position
        self.payload = payload
    }
}

/// Why the log cannot be read now; reading begins anew from what is committed.
package struct EventLogError: Error, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

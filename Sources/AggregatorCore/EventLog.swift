package import Windowing

/// The log that partitions are read from.
///
/// Blocking; used from one owned thread. What it returns per partition is in order and without holes: an
/// implementation that cannot tell throws.
package protocol EventLog: AnyObject {
    /// Begins to read `partition` with the message `sequence`.
    func open(partition: Int, from sequence: UInt64) throws(EventLogError)

    /// Ends reading `partition`; messages that wait are dropped.
    func close(partition: Int)

    /// The next messages of all open partitions, in order per partition; empty when none came
    /// before `deadline`.
    func read(until deadline: ContinuousClock.Instant) throws(EventLogError) -> [LogMessage]

    /// Whether everything that was stored when the log was last asked has been returned.
    func isCaughtUp(partition: Int) -> Bool
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

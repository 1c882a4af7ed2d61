internal import Telemetry

/// One step of the schema's history.
///
/// A migration that has been released never changes: databases remember its checksum.
struct Migration: Sendable {
    /// Counts 1, 2, 3…
    let version: Int32
    /// A word or two.
    let name: String
    /// Whether it runs as the role `qoe_owner`, which every database has from version 7 on, so that what it
    /// makes belongs to that role whoever migrates.
    var runsAsOwner = false
    /// Any number of statements, run in one transaction.
    let sql: String

    /// Tells whether the text is the one that a database has run; guards against mistakes, not
    /// against malice.
    var checksum: String {
        let digits = String(XXHash64.hash(sql), radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// The whole history, in order.
    static let all = [
        migration0001Aggregates, migration0002Progress, migration0003Fleet, migration0004Recovery,
        migration0005DeadLetters, migration0006Sketches, migration0007Roles,
        migration0008Rollups, migration0009Views, migration0010ClockSign,
    ]
}

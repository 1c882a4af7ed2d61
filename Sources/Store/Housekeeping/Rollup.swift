package import Postgres

/// An hour or a day of the rollups.
package struct Rollup: Hashable, Sendable, CustomStringConvertible {
    /// What the rollup is made of: minutes or hours.
    package enum Level: String, CaseIterable, Sendable {
        case hour = "1h"
        case day = "1d"
    }

    package let level: Level
    /// The first instant of the hour or day, UTC.
    package let start: PostgresTimestamp

    package init(_ level: Level, start: PostgresTimestamp) {
        self.level = level
        self.start = start
    }

    package var description: String { "\(level.rawValue) from Unix ms \(start.milliseconds)" }
}

/// What became of making a rollup again.
package enum RollupOutcome: Hashable, Sendable {
    /// As many rows over clients and targets changed.
    case made(changedRows: Int64)
    /// What it would be made of has been removed; the rollup stays as it is.
    case sourceRemoved
    /// Another instance is making rollups.
    case busy
}

/// How much waits to be made again.
package struct RollupBacklog: Hashable, Sendable {
    package var hours: Int64 = 0
    package var days: Int64 = 0
    /// Age of the oldest note in seconds; nil when nothing waits.
    package var oldestSeconds: Double?
}

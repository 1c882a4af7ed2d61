/// One thing that a look at the database found.
package struct Finding: Sendable, Equatable {
    package enum Level: String, Sendable, Comparable {
        case ok = "OK"
        /// Could not be looked at; says nothing about the database.
        case unseen = "SKIP"
        case warning = "WARN"
        case critical = "CRIT"

        /// How bad it is.
        private var rank: Int {
            switch self {
            case .ok, .unseen: 0
            case .warning: 1
            case .critical: 2
            }
        }

        package static func < (left: Level, right: Level) -> Bool { left.rank < right.rank }

        /// As monitoring plugins have it: 0, 1 or 2.
        package var exitCode: Int32 { Int32(rank) }
    }

    package let level: Level
    /// What was looked at, in a word or two.
    package let subject: String
    /// What was found.
    package let message: String
    /// What to do about it; nil where there is nothing to do.
    package let advice: String?

    init(_ level: Level, _ subject: String, _ message: String, advice: String? = nil) {
        self.level = level
        self.subject = subject
        self.message = message
        self.advice = advice
    }

    /// The finding of the first of the limits that `value` is beyond.
    init(
        _ subject: String, _ message: String, _ value: Double, _ limits: CheckLimits.Pair,
        advice: String
    ) {
        let level = limits.level(of: value)
        self.init(level, subject, message, advice: level == .ok ? nil : advice)
    }
}

/// From where on something is a warning, and from where on it is critical.
package struct CheckLimits: Sendable {
    package struct Pair: Sendable {
        package var warning: Double
        package var critical: Double

        package init(_ warning: Double, _ critical: Double) {
            self.warning = warning
            self.critical = critical
        }

        func level(of value: Double) -> Finding.Level {
            value > critical ? .critical : value > warning ? .warning : .ok
        }
    }

    private static let mebibyte = 1_048_576.0

    /// Seconds between now and the newest complete minute: usually under two minutes.
    package var freshnessSeconds = Pair(300, 900)
    /// Seconds that a transaction may be open: from minutes on, what it still sees cannot be vacuumed away.
    package var transactionSeconds = Pair(300, 3_600)
    /// Transactions that the oldest snapshot is behind: one day of 16 partitions flushed every second is
    /// 1.4 million.
    package var horizonTransactions = Pair(2_000_000, 20_000_000)
    /// The age of the oldest unfrozen row over `autovacuum_freeze_max_age`: a vacuum begins at 1 by itself, and
    /// at about 10 of the default PostgreSQL stops taking writes.
    package var freezeShare = Pair(1.2, 5)
    /// The share of rows that are dead: autovacuum begins at a fifth.
    package var deadShare = Pair(0.4, 0.7)
    /// Fewer dead rows cost nothing that anybody notices.
    package var deadRowsMin = 20_000.0
    /// Bytes of log that a replica has not replayed: a second of a busy system is some MiB.
    package var lagBytes = Pair(64 * Self.mebibyte, 1024 * Self.mebibyte)
    /// Seconds that a replica is behind.
    package var lagSeconds = Pair(30, 300)
    /// Bytes of log that an unused slot keeps; it grows until the disk is full.
    package var slotBytes = Pair(1024 * Self.mebibyte, 10_240 * Self.mebibyte)
    /// The share of the connections that are used.
    package var connectionShare = Pair(0.8, 0.95)
    /// The share of the disk that is used.
    package var diskShare = Pair(0.85, 0.95)
    /// Seconds that a dead letter waits to be forwarded, which happens every second.
    package var letterSeconds = Pair(300, 86_400)
    /// Seconds that a changed hour or day waits to be made again: some minutes, and more for a day, unless
    /// aggregators are set to take longer.
    package var rollupSeconds = Pair(7_200, 86_400)
    /// Seconds that removing a partition takes: milliseconds, and longer while somebody reads it.
    package var removalSeconds = Pair(3_600, 86_400)
    /// Days ahead for which there must be partitions: what makes them may be away over a weekend's night.
    package var partitionDays = 2
    /// Hours ahead without which writing fails soon.
    package var partitionHoursMin = 1
    /// Days for which a loss is shown as a warning; the first day it is critical.
    package var lossDays = 7

    package init() {}
}

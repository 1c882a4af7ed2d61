package import Transport

/// How many events that have waited for long may be posted now, so that the end of an outage hurts nobody.
///
/// A pure value. What is not used within a second is not saved up.
package struct DrainBudget: Sendable {
    private let eventsPerSecond: Int
    private var available: Double
    private var lastLook: MonotonicInstant

    package init(eventsPerSecond: Int, now: MonotonicInstant) {
        precondition(eventsPerSecond > 0, "a backlog that never drains is lost")
        self.eventsPerSecond = eventsPerSecond
        available = Double(eventsPerSecond)
        lastLook = now
    }

    /// What may be posted at `now`.
    package mutating func allowance(at now: MonotonicInstant) -> Int {
        let most = Double(eventsPerSecond)
        available = min(most, available + now.since(lastLook).inSeconds * most)
        lastLook = max(lastLook, now)
        return max(0, Int(available))
    }

    /// Takes `count` events from what may be posted.
    package mutating func spend(_ count: Int) {
        available -= Double(count)
    }
}

/// From which place on the events of a spool are fresh: added no longer ago than ``keptFor``.
///
/// A pure value.
package struct FreshnessBoundary: Sendable {
    /// How long an event is fresh: a few failed posts do not make it backlog.
    package static let keptFor = Duration.seconds(60)
    /// The least time between two marks, so that there are about a hundred.
    private static let markEvery = Duration.milliseconds(500)

    private var marks: [(moment: MonotonicInstant, position: UInt64)] = []
    /// The place of the first fresh event.
    package private(set) var position: UInt64

    /// - Parameter position: The spool's end at the start: what an earlier run left is not fresh.
    package init(position: UInt64) {
        self.position = position
    }

    /// Notes the spool's end at `now`.
    package mutating func note(_ end: UInt64, at now: MonotonicInstant) {
        let passed = marks.prefix { now.since($0.moment) >= Self.keptFor }
        if let last = passed.last { position = last.position }
        marks.removeFirst(passed.count)
        if marks.last.map({ now.since($0.moment) >= Self.markEvery }) ?? true {
            marks.append((now, end))
        }
    }
}

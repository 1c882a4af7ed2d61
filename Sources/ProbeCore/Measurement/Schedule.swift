package import Telemetry
package import Transport

/// When each target is measured.
///
/// A pure value. A target's slots lie at fixed moments of the wall clock: multiples of its interval plus a
/// phase made of the client's and the target's names. So a restart keeps the rhythm, probes do not
/// herd at full minutes, and nothing drifts. Slots that pass unseen, as on a machine that sleeps, are
/// counted and not caught up.
package struct Schedule: Sendable {
    /// A target that is due.
    package struct Due: Sendable, Equatable {
        /// The target's place in the list that the schedule was made of.
        package let target: Int
        /// Earlier slots of this target that have passed since it was last due.
        package let missed: UInt64
    }

    private struct Entry {
        let intervalNanoseconds: UInt64
        var next: MonotonicInstant
    }

    private var entries: [Entry]

    /// A schedule that begins at `now`, at which the wall clock shows `wallMilliseconds`.
    package init(
        targets: [Name], every interval: Duration, client: Name, now: MonotonicInstant,
        wallMilliseconds: Int64
    ) {
        let length = UInt64(max(1, interval.wholeNanoseconds))
        entries = targets.map { target in
            let phase = Self.phase(of: target, client: client) % length
            let wall = UInt64(max(0, wallMilliseconds)).multipliedReportingOverflow(by: 1_000_000)
            let sinceSlot = (wall.partialValue % length &+ length &- phase) % length
            let untilSlot = length - sinceSlot
            return Entry(
                intervalNanoseconds: length,
                next: MonotonicInstant(nanoseconds: now.nanoseconds &+ untilSlot))
        }
    }

    /// The next moment at which a target is due; nil without targets.
    package var nextDue: MonotonicInstant? { entries.lazy.map(\.next).min() }

    /// The targets that are due at `now`, each once, and their next slots set.
    package mutating func takeDue(at now: MonotonicInstant) -> [Due] {
        var due: [Due] = []
        for index in entries.indices where entries[index].next <= now {
            let length = entries[index].intervalNanoseconds
            let missed = (now.nanoseconds - entries[index].next.nanoseconds) / length
            let step = (missed &+ 1).multipliedReportingOverflow(by: length)
            entries[index].next = MonotonicInstant(
                nanoseconds: entries[index].next.nanoseconds &+ step.partialValue)
            due.append(Due(target: index, missed: missed))
        }
        return due
    }

    /// A number that is spread evenly over clients and targets and the same for ever.
    static func phase(of target: Name, client: Name) -> UInt64 {
        XXHash64.hash(target.text, seed: XXHash64.hash(client.text))
    }
}

package import Telemetry
package import Transport

/// When each target is measured.
///
/// A pure value. With ``Schedule/Spacing/phase`` a target's slots lie at fixed moments of the wall clock, so a
/// restart keeps the rhythm, probes do not herd at full minutes, and nothing drifts. Slots that pass
/// unseen, as on a machine that sleeps, are counted and not caught up.
package struct Schedule: Sendable {
    /// A target's rhythm.
    package struct Rhythm: Sendable, Hashable {
        package let target: Name
        package let interval: Duration
        package let spacing: Spacing

        package init(target: Name, interval: Duration, spacing: Spacing) {
            self.target = target
            self.interval = interval
            self.spacing = spacing
        }
    }

    /// A target that is due.
    package struct Due: Sendable, Equatable {
        /// The target's place in the list that the schedule was made of.
        package let target: Int
        /// Earlier slots of this target that have passed since it was last due.
        package let missed: UInt64
    }

    private struct Entry {
        let rhythm: Rhythm
        var next: MonotonicInstant

        var intervalNanoseconds: UInt64 { UInt64(max(1, rhythm.interval.wholeNanoseconds)) }
    }

    private var entries: [Entry]
    private var generator: any RandomNumberGenerator & Sendable

    /// A schedule that begins at `now`, at which the wall clock shows `wallMilliseconds`.
    ///
    /// - Parameter previous: A schedule in force: what keeps its rhythm keeps its next slot.
    package init(
        _ rhythms: [Rhythm], client: Name, now: MonotonicInstant, wallMilliseconds: Int64,
        continuing previous: Schedule? = nil,
        using generator: any RandomNumberGenerator & Sendable = SystemRandomNumberGenerator()
    ) {
        var generator = previous?.generator ?? generator
        let kept = Dictionary(
            (previous?.entries ?? []).map { ($0.rhythm, $0.next) }, uniquingKeysWith: { a, _ in a })
        entries = rhythms.map { rhythm in
            if let next = kept[rhythm] { return Entry(rhythm: rhythm, next: next) }
            var entry = Entry(rhythm: rhythm, next: now)
            switch rhythm.spacing {
            case .phase:
                let untilSlot = Self.untilSlot(
                    of: rhythm.target, client: client, length: entry.intervalNanoseconds,
                    wallMilliseconds: wallMilliseconds)
                entry.next = MonotonicInstant(nanoseconds: now.nanoseconds &+ untilSlot)
            case .poisson:
                // The wait for the next of a Poisson process is the same from every moment on.
                entry.next = now.advanced(
                    by: Spacing.poissonGap(around: rhythm.interval, using: &generator))
            }
            return entry
        }
        self.generator = generator
    }

    /// The next moment at which a target is due; nil without targets.
    package var nextDue: MonotonicInstant? { entries.lazy.map(\.next).min() }

    /// The targets that are due at `now`, each once, and their next slots set.
    package mutating func takeDue(at now: MonotonicInstant) -> [Due] {
        var due: [Due] = []
        for index in entries.indices where entries[index].next <= now {
            due.append(Due(target: index, missed: advance(index, past: now)))
        }
        return due
    }

    /// Sets the next slot of an entry behind `now`; gives how many lay between.
    private mutating func advance(_ index: Int, past now: MonotonicInstant) -> UInt64 {
        let entry = entries[index]
        let length = entry.intervalNanoseconds
        let missed = (now.nanoseconds - entry.next.nanoseconds) / length
        let next: MonotonicInstant
        switch entry.rhythm.spacing {
        case .phase:
            let step = (missed &+ 1).multipliedReportingOverflow(by: length)
            next = MonotonicInstant(nanoseconds: entry.next.nanoseconds &+ step.partialValue)
        case .poisson:
            // From the slot and not from `now`, which is a little later each time. After a pause the
            // process begins anew, which changes nothing, as it has no memory.
            let gap = Spacing.poissonGap(around: entry.rhythm.interval, using: &generator)
            next = (missed == 0 ? entry.next : now).advanced(by: gap)
        }
        entries[index].next = max(next, MonotonicInstant(nanoseconds: now.nanoseconds &+ 1))
        return missed
    }

    private static func untilSlot(
        of target: Name, client: Name, length: UInt64, wallMilliseconds: Int64
    ) -> UInt64 {
        let phase = phase(of: target, client: client) % length
        let wall = UInt64(max(0, wallMilliseconds)).multipliedReportingOverflow(by: 1_000_000)
        let sinceSlot = (wall.partialValue % length &+ length &- phase) % length
        return length - sinceSlot
    }

    /// A number that is spread evenly over clients and targets and the same for ever.
    static func phase(of target: Name, client: Name) -> UInt64 {
        XXHash64.hash(target.text, seed: XXHash64.hash(client.text))
    }
}

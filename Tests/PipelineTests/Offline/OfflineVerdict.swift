import ProbeCore
import Telemetry

/// Compares what the tables say of a probe with what was in its spool, and with when it lived.
struct OfflineVerdict {
    /// What is known besides the tables.
    struct Evidence {
        /// All that was found in the spool after a death, and of that what was there before the way was open.
        var spooled = SpoolCensus()
        var spooledOffline = SpoolCensus()
        var dropped = DropLedger()
        var lives: [TravellingProbe.Life] = []
        /// The first moment at which anything could be delivered, Unix milliseconds.
        var onlineFrom: Int64 = 0
        /// The true time less the machine's clock since boot, nanoseconds.
        var trueOffset: Int64 = 0
    }

    private(set) var differences: [String] = []
    /// Counted events.
    private(set) var counted: UInt64 = 0
    private(set) var repeated: UInt64 = 0
    private(set) var dropped: UInt64 = 0
    private let tables: OfflineTables
    private let evidence: Evidence
    private let lives: [UniqueID: TravellingProbe.Life]

    /// How far a time may be off that is right: less than a thousandth of the wall clock's errors, and more than what
    /// exchanges on a busy machine are uncertain by.
    private static let toleranceMilliseconds: Int64 = 2000

    init(_ tables: OfflineTables, _ evidence: Evidence) {
        self.tables = tables
        self.evidence = evidence
        lives = Dictionary(
            evidence.lives.compactMap { life in life.session.map { ($0, life) } },
            uniquingKeysWith: { first, _ in first })
        differences = tables.deadLetters
        compareNumbers()
        compareGaps()
        compareTimes()
        compareMinutes()
    }

    private mutating func differ(_ text: String) { differences.append(text) }

    /// Every number of every session is either counted or dropped, and none is missing.
    private mutating func compareNumbers() {
        let droppedRanges = Dictionary(grouping: evidence.dropped.stretches, by: \.session)
        if evidence.dropped.forgotten > 0 {
            differ("the file of dropped events has forgotten some")
        }
        let names = Set(tables.sessions.keys).union(evidence.spooled.found.keys)
            .union(droppedRanges.keys)
        for session in names {
            let inSQL = tables.sessions[session]
            let counted = inSQL?.counted ?? []
            let lost = droppedRanges[session]?.map(\.numbers) ?? []
            counted.forEach { self.counted += UInt64($0.count) }
            lost.forEach { dropped += UInt64($0.count) }
            repeated += inSQL?.duplicates ?? 0
            if let inSQL, inSQL.events != inSQL.count {
                differ("\(session): \(inSQL.count) numbers, but \(inSQL.events) events")
            }
            let spooled = evidence.spooled.found[session]?.keys.max() ?? 0
            let last = max(spooled, (counted + lost).map(\.upperBound).max() ?? 0)
            var next: UInt64 = 1
            for range in (counted + lost).sorted(by: { $0.lowerBound < $1.lowerBound }) {
                if range.lowerBound > next {
                    differ(
                        "\(session): \(next)...\(range.lowerBound - 1) neither counted nor dropped")
                } else if range.lowerBound < next {
                    differ("\(session): \(range.lowerBound)... both counted and dropped, or twice")
                }
                next = max(next, range.upperBound + 1)
            }
            if next <= last { differ("\(session): \(next)...\(last) neither counted nor dropped") }
        }
        let inMinutes = tables.minutes.values.reduce(0, +)
        if inMinutes != counted { differ("agg_1m has \(inMinutes) events of \(counted)") }
    }

    /// `probe_gaps` names what was dropped below a session's last counted number, and nothing else.
    private mutating func compareGaps() {
        var expected: Set<String> = []
        for (session, table) in tables.sessions {
            let last = table.counted.map(\.upperBound).max() ?? 0
            let lost = evidence.dropped.stretches
                .filter { $0.session == session && $0.numbers.lowerBound < last }
                .map(\.numbers).sorted { $0.lowerBound < $1.lowerBound }
            var merged: [ClosedRange<UInt64>] = []
            for range in lost {
                if let before = merged.last, before.upperBound + 1 == range.lowerBound {
                    merged[merged.count - 1] = before.lowerBound...range.upperBound
                } else {
                    merged.append(range)
                }
            }
            for gap in merged { expected.insert("\(session) \(gap.lowerBound) \(gap.upperBound)") }
        }
        for gap in tables.gaps.subtracting(expected) { differ("probe_gaps names \(gap)") }
        for gap in expected.subtracting(tables.gaps) { differ("probe_gaps does not name \(gap)") }
    }

    /// Every event has a time at which its session lived.
    private mutating func compareTimes() {
        for (session, table) in tables.sessions {
            guard let life = lives[session] else {
                differ("\(session): no life of the probe has this name")
                continue
            }
            if table.firstTime < life.from - Self.toleranceMilliseconds
                || table.lastTime > life.until + Self.toleranceMilliseconds
            {
                differ(
                    "\(session) lived from \(life.from) to \(life.until), \(life.secondsAgo) s ago, "
                        + "but its events are from \(table.firstTime) to \(table.lastTime)")
            }
        }
        for (session, numbers) in evidence.spooled.found {
            guard let life = lives[session] else { continue }
            let outside = numbers.values.map(trueMilliseconds).filter {
                $0 < life.from - Self.toleranceMilliseconds
                    || $0 > life.until + Self.toleranceMilliseconds
            }
            if let one = outside.first {
                differ(
                    "\(session): \(outside.count) spooled outside of its life, as at \(one)")
            }
        }
    }

    private func trueMilliseconds(_ boottime: Int64) -> Int64 {
        (boottime + evidence.trueOffset) / 1_000_000
    }

    /// Each minute before the way was open has the events that were spooled in it, but for those of its edges.
    private mutating func compareMinutes() {
        let lost = Dictionary(grouping: evidence.dropped.stretches, by: \.session)
        var least: [Int64: UInt64] = [:]
        var most: [Int64: UInt64] = [:]
        for (session, numbers) in evidence.spooledOffline.found {
            for (number, boottime) in numbers
            where !(lost[session]?.contains { $0.numbers.contains(number) } ?? false) {
                let time = trueMilliseconds(boottime)
                let from = Self.minute(time - Self.toleranceMilliseconds)
                let until = Self.minute(time + Self.toleranceMilliseconds)
                if from == until { least[from, default: 0] += 1 }
                for minute in from...until { most[minute, default: 0] += 1 }
            }
        }
        let end = Self.minute(evidence.onlineFrom - Self.toleranceMilliseconds)
        for minute in Set(most.keys).union(tables.minutes.keys) where minute < end {
            let found = tables.minutes[minute] ?? 0
            let (least, most) = (least[minute] ?? 0, most[minute] ?? 0)
            if found < least || found > most {
                differ(
                    "minute \((end - minute)) before: \(found) events instead of \(least)...\(most)"
                )
            }
        }
    }

    private static func minute(_ milliseconds: Int64) -> Int64 { milliseconds / 60_000 }
}

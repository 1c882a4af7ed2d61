import Bus
import Foundation
import PrivateServers

/// Holds the tables against the op log and against the stream.
struct Verdict {
    private(set) var differences: [String] = []
    /// Distinct events in the tables, by the oracle.
    private(set) var countedEvents = 0
    private(set) var messages = 0
    /// Events that came again, as the stream has them.
    private(set) var repeated = 0

    /// - Parameters:
    ///   - keep: Folder for what differs.
    ///   - isWholeStream: Whether no message was trimmed.
    init(
        _ pipeline: Pipeline, _ ops: OpLog.State, _ restorations: [Restoration], keep: String,
        isWholeStream: Bool = true
    ) throws {
        try FileManager.default.createDirectory(
            atPath: keep, withIntermediateDirectories: true)
        let accepted = ops.accepted.map(OracleEvent.init)
        if restorations.isEmpty {
            try compare(Oracle(accepted), with: pipeline, "\(keep)/op-log")
        }
        let stream = try StreamContents(url: pipeline.nats.url)
        messages = stream.messages.count
        guard isWholeStream else { return }
        let lost = try restorations.map { try Lost($0) }
        var counted = Counted()
        // A restored stream begins with the copy; what was counted beyond it stays counted, and what the
        // identifiers beyond it were is known no more.
        for lost in lost { counted.count(lost.counted, knowing: lost.kept) }
        counted.count(stream.events, knowing: [])
        countedEvents = counted.events.count
        repeated = stream.events.count - Set(stream.events.map(\.identity)).count
        try compare(Oracle(counted.events), with: pipeline, "\(keep)/stream")

        var present = Set(stream.events.map(\.identity))
        for lost in lost { present.formUnion(lost.all.map(\.identity)) }
        let missing = accepted.filter { !present.contains($0.identity) }
        if !missing.isEmpty {
            differences.append("\(missing.count) accepted events are in no stream")
        }
        try checkDeadLetters(stream, lost, pipeline)
        try checkLostRanges(lost, pipeline)
        if restorations.isEmpty { try checkCounters(stream, pipeline) }
    }

    private mutating func compare(
        _ oracle: Oracle, with pipeline: Pipeline, _ name: String
    ) throws {
        let tables = [
            ("agg_1m", oracle.minutes, OracleQueries.minutes),
            ("probe_sessions", oracle.sessions, OracleQueries.sessions),
            ("probe_gaps", oracle.gaps, OracleQueries.gaps),
        ]
        for (table, expected, query) in tables {
            let found = try pipeline.postgres.table(query)
            differences += try expected.differences(from: found, keptAs: "\(name)-\(table)")
                .map { "\(table): \($0)" }
        }
    }

    /// Each message that is no block is one dead letter, and nothing else is.
    private mutating func checkDeadLetters(
        _ stream: StreamContents, _ lost: [Lost], _ pipeline: Pipeline
    ) throws {
        guard lost.isEmpty else { return }
        let wanted = Set(
            stream.messages.filter { $0.events == nil }.map { "\($0.partition)|\($0.sequence)" })
        let found = Set(
            try pipeline.postgres.table(
                """
                SELECT partition || '|' || seq, ARRAY[''] FROM dead_letters
                WHERE stream = '\(BusStream.events)'
                """
            ).keys)
        if wanted != found {
            differences.append(
                "dead_letters: \(found.subtracting(wanted).sorted()) too many, "
                    + "\(wanted.subtracting(found).sorted()) missing")
        }
    }

    /// What was counted and has left the stream is told.
    private mutating func checkLostRanges(_ lost: [Lost], _ pipeline: Pipeline) throws {
        guard !lost.isEmpty else { return }
        var ranges: [Int: [ClosedRange<UInt64>]] = [:]
        let rows = try pipeline.postgres.table(
            """
            SELECT generation || '|' || partition || '|' || first_seq,
                ARRAY[partition::text, first_seq::text, last_seq::text]
            FROM lost_ranges WHERE stream = '\(BusStream.events)'
            """)
        for columns in rows.values {
            let numbers = columns.compactMap { UInt64($0) }
            guard numbers.count == 3, numbers[1] <= numbers[2] else { continue }
            ranges[Int(numbers[0]), default: []].append(numbers[1]...numbers[2])
        }
        var untold = 0
        for message in lost.flatMap(\.goneMessages) {
            let isTold = ranges[message.partition, default: []].contains {
                $0.contains(message.sequence)
            }
            if !isTold { untold += 1 }
        }
        if untold > 0 {
            differences.append("lost_ranges: \(untold) counted messages that are gone are not told")
        }
    }

    /// Every event read is counted, or a duplicate; the counters are absolute.
    private mutating func checkCounters(_ stream: StreamContents, _ pipeline: Pipeline) throws {
        var wanted: [String: [String]] = [:]
        for (partition, messages) in Dictionary(grouping: stream.messages, by: \.partition) {
            let events = messages.flatMap { $0.events ?? [] }
            let distinct = Set(events.map(\.identity)).count
            wanted["\(partition)"] = [
                messages.count, messages.filter { $0.events == nil }.count, events.count, distinct,
                events.count - distinct, 0,
            ].map(String.init)
        }
        let found = try pipeline.postgres.table(
            """
            SELECT partition::text, ARRAY[messages_read::text, messages_dead_lettered::text,
                events_read::text, events_counted::text, events_duplicate::text,
                events_rejected::text]
            FROM partition_progress WHERE stream = '\(BusStream.events)' AND messages_read > 0
            """)
        for key in Set(wanted.keys).union(found.keys).sorted() where wanted[key] != found[key] {
            differences.append(
                "partition_progress \(key): \(found[key] ?? []) instead of \(wanted[key] ?? [])")
        }
    }

    /// The distinct events of a log that may have been restored.
    private struct Counted {
        var events: [OracleEvent] = []
        private var numbers: Set<String> = []

        /// - Parameter known: Identifiers of events without a number that are known before.
        mutating func count(_ log: [OracleEvent], knowing known: Set<String>) {
            var known = known
            for event in log {
                let isNew =
                    event.numbered == nil
                    ? known.insert(event.identity).inserted
                    : numbers.insert(event.identity).inserted
                if isNew { events.append(event) }
            }
        }
    }

    /// What a stream had before it was restored from a copy.
    private struct Lost {
        /// All its events.
        let all: [OracleEvent]
        /// Messages that are counted and not in the copy.
        let goneMessages: [StreamContents.Message]
        /// Identities in the copy.
        let kept: Set<String>

        var counted: [OracleEvent] { goneMessages.flatMap { $0.events ?? [] } }

        init(_ restoration: Restoration) throws {
            let before = try StreamContents(storeFolder: restoration.lostStore)
            let copy = try StreamContents(storeFolder: restoration.copiedStore)
            all = before.events
            kept = Set(copy.events.map(\.identity))
            goneMessages = before.messages.filter { message in
                message.sequence > copy.lastSequence
                    && message.sequence <= restoration.committed[message.partition] ?? 0
            }
        }
    }
}

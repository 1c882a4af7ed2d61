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
        guard isWholeStream else { return }
        var history = LogHistory()
        for restoration in restorations { try history.add(restoration) }
        try history.end(with: StreamContents(url: pipeline.nats.url, from: history.next).messages)
        messages = history.messages.count
        countedEvents = history.counted.count
        let events = history.messages.flatMap { $0.events ?? [] }
        repeated = events.count - Set(events.map(\.identity)).count
        try compare(Oracle(history.counted), with: pipeline, "\(keep)/stream")

        let missing = accepted.count { !history.stored.contains($0.identity) }
        if missing > 0 { differences.append("\(missing) accepted events are in no stream") }
        differences += try RollupCheck(pipeline).differences()
        try checkLostRanges(history.gone, pipeline)
        guard restorations.isEmpty else { return }
        try checkDeadLetters(history.messages, pipeline)
        try checkCounters(history.messages, pipeline)
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
        _ messages: [StreamContents.Message], _ pipeline: Pipeline
    ) throws {
        let wanted = Set(
            messages.filter { $0.events == nil }.map { "\($0.partition)|\($0.sequence)" })
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
    private mutating func checkLostRanges(
        _ gone: [StreamContents.Message], _ pipeline: Pipeline
    ) throws {
        guard !gone.isEmpty else { return }
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
        for message in gone {
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
    private mutating func checkCounters(
        _ messages: [StreamContents.Message], _ pipeline: Pipeline
    ) throws {
        var wanted: [String: [String]] = [:]
        for (partition, messages) in Dictionary(grouping: messages, by: \.partition) {
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
}

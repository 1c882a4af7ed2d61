import ArgumentParser
import Foundation
import OperatorCore

/// Where every partition stands.
struct PartitionsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "partitions",
        abstract: "Shows who counts which partition, how far, and what is behind.",
        discussion: """
            One line per partition of the streams. COMMITTED is the last sequence whose effects are \
            in the tables, LAST the newest of the partition's subject, LAG what lies between. \
            COMPLETE says how old the newest complete minute is, LEASE what is left of the owner's. \
            Works without NATS; the lag is then unknown.

            Exit codes: 0; 1 when the database cannot be read; 64 wrong usage; 130 after Ctrl-C.
            """)

    @OptionGroup var servers: ServerOptions

    @Flag(help: "List the ranges of the stream that were lost, with reason and time.")
    var lost = false

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        try interruptibly { stop in
            let report = try servers.connected(stop) { database, connector in
                try PartitionReport(database: database, connector: connector)
            }
            if json {
                try sayJSON(PartitionsDocument(report))
            } else {
                say((lost ? lostLines(report) : lines(report)).joined(separator: "\n"))
            }
        }
    }

    private func lines(_ report: PartitionReport) -> [String] {
        guard !report.partitions.isEmpty else {
            return ["no partition has ever been owned: start an aggregator"]
        }
        var table = TextTable([
            ("STREAM", .left), ("PART", .right), ("OWNER", .left), ("STATE", .left),
            ("GEN", .right), ("COMMITTED", .right), ("LAST", .right), ("LAG", .right),
            ("LAG s", .right), ("COMPLETE", .right), ("LEASE", .right), ("COUNTED", .right),
            ("DUPL", .right), ("REJECTED", .right), ("DEAD", .right), ("LATE", .right),
            ("LOST", .right),
        ])
        for partition in report.partitions {
            let lag = partition.lag
            table.add([
                partition.stream, "\(partition.partition)", partition.owner ?? "-",
                partition.state, "\(partition.generation)", "\(partition.committedSequence)",
                lag.map { $0.lastSequence.map { "\($0)" } ?? "-" } ?? "?",
                lag.map { "\($0.messages)" } ?? "?",
                lag.map { $0.seconds.map { oneDecimal($0) } ?? "-" } ?? "?",
                partition.completeThroughAgeSeconds.map { "\(oneDecimal($0)) s ago" } ?? "-",
                partition.leaseSeconds.map { $0 < 0 ? "ended" : "\(oneDecimal($0)) s" } ?? "-",
                "\(partition.eventsCounted)", "\(partition.eventsDuplicate)",
                "\(partition.eventsRejected)", "\(partition.messagesDeadLettered)",
                "\(partition.eventsLate)", "\(partition.lostRangeCount)",
            ])
        }
        var lines = table.lines
        if let failure = report.natsFailure { lines.append("the lag is unknown: \(failure)") }
        if !report.lostRanges.isEmpty {
            lines.append(
                "\(report.lostRanges.count) ranges of the stream were lost: "
                    + "qoectl partitions --lost lists them")
        }
        return lines
    }

    private func lostLines(_ report: PartitionReport) -> [String] {
        guard !report.lostRanges.isEmpty else { return ["nothing was ever lost"] }
        var table = TextTable([
            ("DETECTED", .left), ("STREAM", .left), ("PART", .right), ("GEN", .right),
            ("FIRST", .right), ("LAST", .right), ("REASON", .left),
        ])
        for range in report.lostRanges {
            table.add([
                utcText(milliseconds: range.detectedMilliseconds), range.stream,
                "\(range.partition)", "\(range.generation)", "\(range.firstSequence)",
                "\(range.lastSequence)", range.reason,
            ])
        }
        return table.lines
    }

    private func oneDecimal(_ value: Double) -> String {
        String(format: "%.1f", value)
    }
}

/// A report as JSON.
private struct PartitionsDocument: Encodable {
    struct Partition: Encodable {
        let stream: String
        let partition: Int
        let owner_id: String?
        let state: String
        let generation: Int
        let epoch: Int64
        let committed_seq: UInt64
        let committed_ts_ms: Int64?
        let complete_through_ms: Int64?
        let complete_through_age_s: Double?
        let lease_remaining_s: Double?
        let last_seq: UInt64?
        let lag_messages: UInt64?
        let lag_s: Double?
        let messages_read: Int64
        let messages_dead_lettered: Int64
        let events_counted: Int64
        let events_duplicate: Int64
        let events_rejected: Int64
        let events_late: Int64
        let lost_ranges: Int64
    }

    struct LostRange: Encodable {
        let stream: String
        let partition: Int
        let generation: Int
        let first_seq: UInt64
        let last_seq: UInt64
        let detected_at_ms: Int64
        let reason: String
    }

    let partitions: [Partition]
    let lost_ranges: [LostRange]
    /// Why the lag is unknown.
    let nats_error: String?

    init(_ report: PartitionReport) {
        partitions = report.partitions.map { partition in
            Partition(
                stream: partition.stream, partition: partition.partition,
                owner_id: partition.owner, state: partition.state,
                generation: partition.generation, epoch: partition.epoch,
                committed_seq: partition.committedSequence,
                committed_ts_ms: partition.committedMilliseconds,
                complete_through_ms: partition.completeThroughMilliseconds,
                complete_through_age_s: partition.completeThroughAgeSeconds,
                lease_remaining_s: partition.leaseSeconds,
                last_seq: partition.lag?.lastSequence, lag_messages: partition.lag?.messages,
                lag_s: partition.lag?.seconds, messages_read: partition.messagesRead,
                messages_dead_lettered: partition.messagesDeadLettered,
                events_counted: partition.eventsCounted,
                events_duplicate: partition.eventsDuplicate,
                events_rejected: partition.eventsRejected, events_late: partition.eventsLate,
                lost_ranges: partition.lostRangeCount)
        }
        lost_ranges = report.lostRanges.map { range in
            LostRange(
                stream: range.stream, partition: range.partition, generation: range.generation,
                first_seq: range.firstSequence, last_seq: range.lastSequence,
                detected_at_ms: range.detectedMilliseconds, reason: range.reason)
        }
        nats_error = report.natsFailure
    }
}

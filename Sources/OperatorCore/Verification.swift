internal import Bus
package import NATSClient
package import Postgres
internal import Recount
internal import Store
internal import Telemetry

/// Compares the tables with the stream, by counting the stream again.
///
/// Disturbs nobody: one read-only transaction, and consumers that end with it. Progress and rows come from the
/// same snapshot, so the tables are compared with exactly the messages that they claim to hold.
///
/// A minute is compared when every event of it must still be in the stream. The aggregator takes events at most
/// ten minutes ahead of the broker's time, so that is every minute that begins ten minutes after the oldest message
/// or later. Blocking: use it from one owned thread.
package struct Verification {
    private let database: PostgresConnection
    private let connector: NATSConnector
    private let stop: StopRequest

    /// How long nothing may come while messages are missing.
    private static let silenceLimit = Duration.seconds(30)
    private static let pollInterval = Duration.milliseconds(250)
    /// Read before the first event of a minute can come, so that repetitions of events without numbers are
    /// known: fifteen minutes, and one for a broker's clock that went back.
    private static let leadMilliseconds: Int64 = 16 * 60_000
    /// Read at once; each costs the server a consumer, and memory here.
    private static let partitionsAtOnce = 4

    package init(database: PostgresConnection, connector: NATSConnector, stop: StopRequest) {
        self.database = database
        self.connector = connector
        self.stop = stop
    }

    /// - Parameter minutes: Compares the last minutes only; nil all that can be.
    /// - Throws: ``OperatorError`` when nothing can be compared; ``Stopped``.
    package func run(minutes: Int?) throws -> VerifyReport {
        try requireSchema(database)
        let before = try EventStream(connector)
        let firstMilliseconds = try before.firstMilliseconds()
        var beginning = before.isWhole ? nil : firstMilliseconds
        let snapshot = try VerifySnapshot(
            database, windowsFromMilliseconds: beginning.map { $0 + aheadMax }, minutes: minutes)
        try check(snapshot, before)

        // What came well before the minutes asked for need not be read.
        var start = before.information.firstSequence
        if minutes != nil, let from = snapshot.windowsFromMilliseconds {
            let time = from - aheadMax - Self.leadMilliseconds
            let found = try before.sequence(at: time)
            if found > start {
                start = found
                beginning = max(beginning ?? .min, time)
            }
        }
        let recount = Recount(
            partitioning: before.partitioning,
            windowsFromMilliseconds: snapshot.windowsFromMilliseconds ?? .min)
        let messages = try read(snapshot, from: start, into: recount)

        // What was trimmed meanwhile may not have been read.
        var windowsFrom = snapshot.windowsFromMilliseconds
        let after = try EventStream(connector)
        try requireSameStream(before, after)
        if after.information.firstSequence > start {
            guard let first = try after.firstMilliseconds() else {
                throw OperatorError("the stream was emptied while it was read: run this again")
            }
            beginning = max(beginning ?? .min, first)
            windowsFrom = max(windowsFrom ?? .min, first + aheadMax)
        }
        let comparison = Comparison(
            windowsFrom: windowsFrom, beginning: beginning,
            isWhole: beginning == nil && minutes == nil)
        var report = comparison.compare(snapshot, recount)
        report.messages = messages
        return report
    }

    private func check(_ snapshot: VerifySnapshot, _ stream: EventStream) throws(OperatorError) {
        guard let newest = snapshot.partitions.values.map(\.committedSequence).max(), newest > 0
        else {
            throw OperatorError(
                "the tables hold nothing of the stream yet: is an aggregator running?")
        }
        let last = stream.information.lastSequence
        guard newest <= last else {
            throw OperatorError(
                "the stream \(BusStream.events) ends at \(last), the tables hold it up to \(newest): "
                    + "it was made anew or restored from an older copy; see qoectl partitions")
        }
        guard stream.information.messageCount > 0 else {
            throw OperatorError(
                "the stream \(BusStream.events) is empty: nothing is left to compare with")
        }
        if let highest = snapshot.partitions.keys.max(), highest >= stream.partitioning.count {
            throw OperatorError(
                "the tables know partition \(highest), the stream has \(stream.partitioning.count): "
                    + "they do not belong together; see --nats-url and --postgres-url")
        }
    }

    private func requireSameStream(
        _ before: EventStream, _ after: EventStream
    ) throws(OperatorError) {
        guard before.information.createdNanoseconds == after.information.createdNanoseconds else {
            throw OperatorError("the stream was made anew while it was read: run this again")
        }
    }

    // MARK: Reading

    /// Reads every partition from `start` up to what the tables hold.
    ///
    /// - Returns: how many messages that were.
    private func read(
        _ snapshot: VerifySnapshot, from start: UInt64, into recount: Recount
    ) throws -> Int64 {
        let wanted = snapshot.partitions.filter { $0.value.committedSequence >= start }
            .mapValues(\.committedSequence).sorted { $0.key < $1.key }
        let reader = StreamReader.events(connector: connector)
        defer { reader.stop() }
        var messages: Int64 = 0
        var rest = wanted[...]
        while !rest.isEmpty {
            let group = rest.prefix(Self.partitionsAtOnce)
            rest = rest.dropFirst(group.count)
            messages += try read(
                Dictionary(group.map { ($0.key, $0.value) }) { first, _ in first },
                of: reader, from: start, snapshot, into: recount)
        }
        return messages
    }

    private func read(
        _ group: [Int: UInt64], of reader: StreamReader, from start: UInt64,
        _ snapshot: VerifySnapshot, into recount: Recount
    ) throws -> Int64 {
        var open = group
        for partition in group.keys.sorted() { reader.add(partition, from: start) }
        var messages: Int64 = 0
        var lastNews = ContinuousClock.now
        while !open.isEmpty {
            guard !stop.wasGiven else { throw Stopped() }
            let found = reader.next(until: .now + Self.pollInterval)
            if !found.isEmpty { lastNews = .now }
            for message in found {
                guard let end = open[message.tag], message.streamSequence <= end else { continue }
                messages += 1
                recount.read(
                    RecountMessage(
                        partition: message.tag, sequence: message.streamSequence,
                        brokerMilliseconds: message.timestampNanoseconds / 1_000_000,
                        payload: message.message.withUnsafePayload { Array($0) }),
                    wasSetAside: snapshot.setAside[message.tag]?.contains(message.streamSequence)
                        ?? false)
            }
            for (partition, end) in open where isRead(partition, to: end, reader) {
                open[partition] = nil
                reader.remove(partition)
            }
            for partition in open.keys.sorted() {
                if let change = reader.position(of: partition)?.discontinuity {
                    throw OperatorError("the stream changed while it was read: \(change)")
                }
            }
            guard ContinuousClock.now - lastNews < Self.silenceLimit else {
                let reason = reader.lastError.map { ": \($0)" } ?? ""
                throw OperatorError("NATS has sent nothing for \(Self.silenceLimit)\(reason)")
            }
        }
        return messages
    }

    /// Whether everything up to `end` has been returned: its message, or word that no more is there (then it
    /// was trimmed meanwhile, which is looked at in the end).
    private func isRead(_ partition: Int, to end: UInt64, _ reader: StreamReader) -> Bool {
        guard let position = reader.position(of: partition) else { return true }
        return position.nextSequence > end || position.caughtUpAt != nil
    }
}

/// Refuses a database without our tables, or with others than this program knows.
func requireSchema(_ connection: PostgresConnection) throws(OperatorError) {
    do throws(SchemaError) {
        try Schema().requireCurrent(connection)
    } catch {
        throw OperatorError(error.description)
    }
}

/// Which rows are compared, and how.
private struct Comparison {
    let windowsFrom: Int64?
    let beginning: Int64?
    let isWhole: Bool

    func compare(_ snapshot: VerifySnapshot, _ recount: Recount) -> VerifyReport {
        var report = VerifyReport()
        report.fromMilliseconds = windowsFrom
        compareCells(snapshot, recount, &report)
        compareSessions(snapshot, recount, &report)
        if isWhole, !snapshot.wasRepositioned {
            compareCounters(snapshot, recount, &report)
        } else {
            report.notCompared.append(
                "the counters of partition_progress, which count from the stream's beginning")
        }
        if let loss = snapshot.lastLossMilliseconds, loss + aheadMax == windowsFrom {
            report.notCompared.append(
                "minutes before the last loss that lost_ranges records, and ten more")
        }
        return report
    }

    private func isCompared(_ row: CanonicalRow) -> Bool {
        guard let windowsFrom, let start = row.startMilliseconds else { return true }
        return start >= windowsFrom
    }

    private func compareCells(
        _ snapshot: VerifySnapshot, _ recount: Recount, _ report: inout VerifyReport
    ) {
        let uncertain = beginning.map { recount.uncertainCellKeys(beginningMilliseconds: $0) } ?? []
        func isIn(_ row: CanonicalRow) -> Bool { isCompared(row) && !uncertain.contains(row.key) }
        let stored = snapshot.cells.filter(isIn)
        let differences = RowDifference.between(
            recounted: recount.cellRows().lazy.filter(isIn), stored: stored)
        report.differences += differences.map { VerifyReport.Difference($0) }
        report.rows = stored.count
        report.minutes = Set(stored.map(\.startMilliseconds)).count
        report.events = stored.reduce(0) { $0 &+ $1.eventCount }
        let leftOut = snapshot.cells.count { isCompared($0) && uncertain.contains($0.key) }
        if leftOut > 0 {
            report.notCompared.append(
                "\(leftOut) rows of agg_1m with events without a number that came within 15 minutes "
                    + "of the first message read: what they may repeat was not read")
        }
    }

    /// A session is compared when its earliest event is in a minute that is: then all of them are.
    private func compareSessions(
        _ snapshot: VerifySnapshot, _ recount: Recount, _ report: inout VerifyReport
    ) {
        let older = Set(snapshot.sessions.lazy.filter { !isCompared($0) }.map(\.key))
        var stored = snapshot.sessions.filter(isCompared)
        var recounted = recount.sessionRows().filter {
            isCompared($0) && !older.contains($0.key)
        }
        if snapshot.wasRepositioned {
            // What was read again after a cut of the stream came again only for the aggregator.
            stored = stored.map { $0.without("duplicates") }
            recounted = recounted.map { $0.without("duplicates") }
            report.notCompared.append(
                "duplicates in probe_sessions: the aggregator has read a part of the stream again")
        }
        let differences = RowDifference.between(recounted: recounted, stored: stored)
        report.differences += differences.map { VerifyReport.Difference($0) }
        report.sessions = stored.count
        if !older.isEmpty {
            report.notCompared.append(
                "\(older.count) rows of probe_sessions that began before the compared minutes")
        }
    }

    private func compareCounters(
        _ snapshot: VerifySnapshot, _ recount: Recount, _ report: inout VerifyReport
    ) {
        let recounted = recount.counters
        for (partition, stored) in snapshot.partitions.sorted(by: { $0.key < $1.key }) {
            let expected = recounted[partition] ?? RecountCounters()
            let fields = zip(fields(expected), fields(stored.counters)).filter { $0 != $1 }
            guard !fields.isEmpty else { continue }
            report.differences.append(
                VerifyReport.Difference(
                    table: "partition_progress", key: "partition=\(partition)", kind: .different,
                    fields: fields.map { .init(stream: $0, table: $1) }))
        }
    }

    private func fields(_ counters: RecountCounters) -> [String] {
        [
            "messages_read=\(counters.messages)",
            "messages_dead_lettered=\(counters.deadLetters)",
            "events_read=\(counters.events)", "events_counted=\(counters.counted)",
            "events_duplicate=\(counters.duplicates)", "events_rejected=\(counters.rejected)",
            "events_late=\(counters.late)",
        ]
    }
}

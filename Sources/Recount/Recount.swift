internal import Blocks
internal import LogDecoding
package import Telemetry

/// A message of the log, as it is read from the stream.
package struct RecountMessage: Sendable {
    package let partition: Int
    package let sequence: UInt64
    /// When the broker stored it, Unix milliseconds.
    package let brokerMilliseconds: Int64
    package let payload: [UInt8]

    package init(partition: Int, sequence: UInt64, brokerMilliseconds: Int64, payload: [UInt8]) {
        self.partition = partition
        self.sequence = sequence
        self.brokerMilliseconds = brokerMilliseconds
        self.payload = payload
    }
}

/// What a partition has read: the counters of `partition_progress` that the log alone decides.
package struct RecountCounters: Hashable, Sendable {
    package var messages: Int64 = 0
    /// Messages that cannot be decoded, or were set aside.
    package var deadLetters: Int64 = 0
    package var events: Int64 = 0
    package var counted: Int64 = 0
    package var duplicates: Int64 = 0
    package var rejected: Int64 = 0
    package var late: Int64 = 0

    package init() {}
}

/// The log counted again, to compare the tables with.
///
/// Shares no counting code with the aggregator: plain dictionaries, exact integers, and buckets made from their
/// definition. What it counts by:
///
/// - An event with a session and a number counts once per client, session and number, unless its number would be
///   the session's 10,001st run of numbers.
/// - Any other counts once per client and `event_id` while it is read again within 15 minutes of the log, by the
///   broker's time.
/// - The broker's time never goes back: it is the largest one seen in the partition.
/// - An event more than ten minutes ahead of it, or more than 31 days behind, is rejected.
/// - An event is late when it was received more than two minutes after the end of its minute.
///
/// Keeps every cell and session in memory: some kilobytes for each. Serves one thread at a time.
package final class Recount {
    private struct CellKey: Hashable {
        let minute: Int64
        let client: Name
        let target: Name
    }

    private struct SessionKey: Hashable {
        let client: Name
        let session: UniqueID
    }

    private struct EventKey: Hashable {
        let client: Name
        let event: UniqueID
    }

    private struct Partition {
        var brokerMilliseconds = Int64.min
        var counters = RecountCounters()
        /// When each event without a number was read last, by the broker's time.
        var seen: [EventKey: Int64] = [:]
        var forgottenAt = Int64.min
    }

    private let decoder: MessageDecoder
    private let partitioning: Partitioning
    private let windowsFromMilliseconds: Int64
    private var partitions: [Int: Partition] = [:]
    private var cells: [CellKey: RecountedCell] = [:]
    private var sessions: [SessionKey: RecountedSession] = [:]

    /// - Parameter windowsFromMilliseconds: Cells of minutes that begin earlier, Unix milliseconds, are not kept.
    package init(partitioning: Partitioning, windowsFromMilliseconds: Int64 = .min) {
        decoder = MessageDecoder(partitioning: partitioning)
        self.partitioning = partitioning
        self.windowsFromMilliseconds = windowsFromMilliseconds
    }

    /// By partition.
    package var counters: [Int: RecountCounters] { partitions.mapValues(\.counters) }

    /// Counts a message; those of one partition come in the order of the log, each once.
    ///
    /// - Parameter wasSetAside: Whether it is known that the aggregator gave the message up unread.
    /// - Returns: Whether the message can be decoded.
    @discardableResult
    package func read(_ message: RecountMessage, wasSetAside: Bool = false) -> Bool {
        // Taken out, so that its dictionary is changed in place.
        var partition = partitions.removeValue(forKey: message.partition) ?? Partition()
        defer { partitions[message.partition] = partition }
        partition.brokerMilliseconds = max(
            partition.brokerMilliseconds, message.brokerMilliseconds)
        partition.counters.messages += 1
        forget(&partition)
        switch decoder.decode(
            message.payload, partition: message.partition,
            brokerMilliseconds: message.brokerMilliseconds)
        {
        case .unreadable:
            partition.counters.deadLetters += 1
            return false
        case .events(_, _) where wasSetAside:
            partition.counters.deadLetters += 1
        case .events(let block, let rejected):
            partition.counters.events += Int64(block.eventCount + rejected.count)
            partition.counters.rejected += Int64(rejected.count)
            block.withReader { block in
                for index in 0..<block.eventCount {
                    count(
                        block.event(index),
                        receivedMilliseconds: block.record(index).receivedAtMilliseconds,
                        &partition)
                }
            }
        }
        return true
    }

    private func count(
        _ event: Event, receivedMilliseconds: Int64, _ partition: inout Partition
    ) {
        let now = partition.brokerMilliseconds
        let milliseconds = event.measuredAtMilliseconds
        let (age, isFarOff) = now.subtractingReportingOverflow(milliseconds)
        guard !isFarOff, (-Self.aheadMax...Self.behindMax).contains(age) else {
            partition.counters.rejected += 1
            return
        }
        switch recognise(event, &partition) {
        case .first: break
        case .repeated:
            partition.counters.duplicates += 1
            return
        case .refused:
            partition.counters.rejected += 1
            return
        }
        partition.counters.counted += 1
        let (quotient, remainder) = milliseconds.quotientAndRemainder(dividingBy: Self.minute)
        let minute = remainder < 0 ? quotient - 1 : quotient
        let isLate = receivedMilliseconds > (minute + 1) * Self.minute + Self.lateAfter
        if isLate { partition.counters.late += 1 }
        guard minute * Self.minute >= windowsFromMilliseconds else { return }

        let key = CellKey(minute: minute, client: event.clientID, target: event.target)
        let cell = cells[key] ?? RecountedCell()
        cells[key] = cell
        cell.count(errorStage: event.errorStage, isLate: isLate)
        cell.see(event.context, milliseconds: milliseconds)
        for metric in Metric.allCases {
            if let value = event.metrics[metric] { cell.add(value.millionths, of: metric) }
        }
        if event.sequence == nil {
            cell.firstUnnumberedMilliseconds = min(cell.firstUnnumberedMilliseconds, now)
        }
    }

    private func recognise(
        _ event: Event, _ partition: inout Partition
    ) -> RecountedSession.Verdict {
        if let sequence = event.sequence {
            let key = SessionKey(client: event.clientID, session: sequence.session)
            let session = sessions[key] ?? RecountedSession()
            sessions[key] = session
            return session.count(
                sequence.number, milliseconds: event.measuredAtMilliseconds)
        }
        let key = EventKey(client: event.clientID, event: event.id)
        let now = partition.brokerMilliseconds
        let before = partition.seen[key]
        partition.seen[key] = now
        return before.map { now - $0 <= Self.horizon } == true ? .repeated : .first
    }

    /// Drops what can decide nothing any more, now and then.
    private func forget(_ partition: inout Partition) {
        let now = partition.brokerMilliseconds
        guard partition.forgottenAt < now - Self.minute else { return }
        partition.forgottenAt = now
        partition.seen = partition.seen.filter { now - $0.value <= Self.horizon }
    }

    private static let minute: Int64 = 60_000
    private static let lateAfter: Int64 = 2 * minute
    private static let horizon: Int64 = 15 * minute
    private static let aheadMax: Int64 = 10 * minute
    private static let behindMax: Int64 = 31 * 24 * 60 * minute

    // MARK: Rows

    /// The rows that `agg_1m` must have, by minute, client and target.
    package func cellRows() -> [CanonicalRow] {
        cells.sorted { a, b in
            if a.key.minute != b.key.minute { return a.key.minute < b.key.minute }
            if a.key.client != b.key.client { return a.key.client < b.key.client }
            return a.key.target < b.key.target
        }.map { key, cell in
            cell.canonical(minute: key.minute, client: key.client, target: key.target).row
        }
    }

    /// The keys of cells of which it is not certain that what was read decides them.
    ///
    /// An event without a number that was counted within 15 minutes of the beginning may repeat one before it.
    ///
    /// - Parameter beginning: The broker's time of the first message read of a log that had others before,
    ///   Unix milliseconds.
    package func uncertainCellKeys(beginningMilliseconds beginning: Int64) -> Set<String> {
        var keys: Set<String> = []
        for (key, cell) in cells where cell.firstUnnumberedMilliseconds <= beginning + Self.horizon
        {
            keys.insert(
                CanonicalCell.key(key.minute * Self.minute, key.client.text, key.target.text))
        }
        return keys
    }

    /// The rows that `probe_sessions` must have, by client and session.
    package func sessionRows() -> [CanonicalRow] {
        sessions.sorted { a, b in
            a.key.client != b.key.client
                ? a.key.client < b.key.client : a.key.session < b.key.session
        }.map { key, session in
            session.canonical(
                client: key.client, session: key.session,
                partition: partitioning.partition(ofClient: key.client.text)
            ).row
        }
    }
}

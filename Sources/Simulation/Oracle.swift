internal import Sketches
internal import Store
internal import Telemetry
internal import Windowing

/// A flush as the tables committed it, with the messages that it is about.
struct CommitRecord {
    let partition: Int
    let messages: [StoredMessage]
    /// Sequences of messages that were set aside as a whole.
    let setAside: Set<UInt64>
}

/// What must be in the tables, recomputed by other means: plain sets and dictionaries over the events of the
/// messages of every commit that the database kept.
struct Oracle {
    struct Metrics {
        var count: UInt64 = 0
        var sum: Int64 = 0
        var minimum = UInt64.max
        var maximum: UInt64 = 0
        var buckets: [Int: UInt64] = [:]
    }

    struct ExpectedCell {
        var total: Int64 = 0
        var late: Int64 = 0
        var errors: [ErrorStage: Int64] = [:]
        var metrics: [Metric: Metrics] = [:]
        var contextAt: Int64?
        var context = NetworkContext()
    }

    struct ExpectedSession {
        var numbers: Set<UInt64> = []
        var duplicates: Int64 = 0
        var first = Int64.max
        var last = Int64.min
    }

    struct ExpectedPartition {
        var counters = PartitionCounters()
        var brokerMilliseconds = Int64.min
    }

    private(set) var counted: Set<Int> = []
    /// Numbers of the messages whose effects are in the tables.
    private(set) var processed: Set<Int> = []
    private(set) var cells: [CellKey: ExpectedCell] = [:]
    private(set) var sessions: [SessionKey: ExpectedSession] = [:]
    private(set) var partitions: [ExpectedPartition]

    init(partitionCount: Int) {
        partitions = Array(repeating: ExpectedPartition(), count: partitionCount)
    }

    mutating func apply(_ commit: CommitRecord, _ events: [SimulatedEvent]) {
        var partition = partitions[commit.partition]
        for message in commit.messages {
            processed.insert(message.number)
            partition.brokerMilliseconds = max(
                partition.brokerMilliseconds, message.brokerMilliseconds)
            partition.counters.messages += 1
            if commit.setAside.contains(message.sequence) || message.draft.kind != .events {
                partition.counters.deadLetters += 1
                continue
            }
            for copy in message.draft.copies {
                apply(copy, events[copy.event], &partition)
            }
        }
        partitions[commit.partition] = partition
    }

    private mutating func apply(
        _ copy: EventCopy, _ simulated: SimulatedEvent, _ partition: inout ExpectedPartition
    ) {
        let event = simulated.event
        partition.counters.events += 1
        if simulated.isNonsense {
            partition.counters.rejected += 1
            return
        }
        let sessionKey = event.sequence.map {
            SessionKey(client: event.clientID, session: $0.session)
        }
        guard counted.insert(copy.event).inserted else {
            partition.counters.duplicates += 1
            if let sessionKey { sessions[sessionKey, default: .init()].duplicates += 1 }
            return
        }
        let window = Window(containing: event.measuredAtMilliseconds)
        let isLate =
            copy.receivedAtMilliseconds > window.endMilliseconds + EventLimits.lateAfterMilliseconds
        partition.counters.counted += 1
        if isLate { partition.counters.late += 1 }
        let key = CellKey(client: event.clientID, target: event.target, window: window)
        cells[key, default: .init()].add(event, isLate: isLate)
        if let sessionKey, let number = event.sequence?.number {
            sessions[sessionKey, default: .init()].add(number, event.measuredAtMilliseconds)
        }
    }
}

extension Oracle.ExpectedCell {
    mutating func add(_ event: Event, isLate: Bool) {
        total += 1
        if isLate { late += 1 }
        if let stage = event.errorStage { errors[stage, default: 0] += 1 }
        for metric in Metric.allCases {
            guard let value = event.metrics[metric]?.millionths else { continue }
            metrics[metric, default: .init()].add(value)
        }
        let isNewer = contextAt.map { at in
            event.measuredAtMilliseconds > at
                || (event.measuredAtMilliseconds == at && rank(context) < rank(event.context))
        }
        if isNewer ?? true {
            context = event.context
            contextAt = event.measuredAtMilliseconds
        }
    }

    /// Contexts of runs differ in the network type alone; absent comes first.
    private func rank(_ context: NetworkContext) -> String { context.networkType?.text ?? "" }

    /// Whether `cell` is this one, bit for bit.
    func matches(_ cell: Cell) -> Bool {
        let failed = errors.values.reduce(0, +)
        guard cell.total == total, cell.late == late, cell.error == failed,
            cell.success == total - failed, cell.context == context,
            cell.contextMeasuredAtMilliseconds == contextAt,
            ErrorStage.allCases.allSatisfy({ cell.errors(at: $0) == errors[$0] ?? 0 })
        else { return false }
        return Metric.allCases.allSatisfy { metric in
            let summary = cell.summary(of: metric)
            guard let expected = metrics[metric] else { return summary.count == 0 }
            let elements = expected.buckets.sorted { $0.key < $1.key }
                .map { UInt64($0.key) << 40 | $0.value }
            return summary.count == expected.count && summary.sum == expected.sum
                && summary.minimum?.millionths == expected.minimum
                && summary.maximum?.millionths == expected.maximum
                && cell.sketchElements(of: metric) == elements
        }
    }
}

extension Oracle.Metrics {
    mutating func add(_ value: UInt64) {
        count += 1
        sum += Int64(clamping: value)
        minimum = min(minimum, value)
        maximum = max(maximum, value)
        buckets[BucketMapping.shared.bucket(of: value), default: 0] += 1
    }
}

extension Oracle.ExpectedSession {
    mutating func add(_ number: UInt64, _ measuredAt: Int64) {
        numbers.insert(number)
        first = min(first, measuredAt)
        last = max(last, measuredAt)
    }

    func matches(_ row: SessionRow) -> Bool {
        row.counted.count == UInt64(numbers.count) && row.events == Int64(numbers.count)
            && numbers.allSatisfy(row.counted.contains) && row.duplicates == duplicates
            && row.firstMeasuredAtMilliseconds == first && row.lastMeasuredAtMilliseconds == last
    }
}

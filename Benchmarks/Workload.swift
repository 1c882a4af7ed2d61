import Blocks
import Telemetry
import TestKit

/// Numbered events of a fleet of probes, as many as wanted, made while they are needed.
///
/// Each probe measures four targets in turn and six metrics each time; its events of one minute make four
/// cells. Every event can be made by its number alone, so that no order needs all of them in memory.
struct Workload {
    enum Order: String, CaseIterable {
        /// As the probes measured.
        case ordered
        /// At random within stretches of ``Workload/stretch`` events, as when many requests overtake each other.
        case shuffled
        /// Ordered, and one event in twenty comes again ``Workload/repeatDistance`` events later.
        case duplicates
    }

    static let targetCount = 4
    static let metrics: [Metric] = [.dns, .tcp, .tls, .ttfb, .throughput, .total]
    static let stretch = 100_000
    static let repeatDistance = 10_000
    private static let repeatShare: UInt64 = 20

    let cellCount: Int
    let eventsPerCell: Int
    let order: Order
    let clientCount: Int
    let windowCount: Int
    /// The first minute's start, Unix milliseconds.
    let startMilliseconds: Int64
    private let clients: [[UInt8]]
    private let targets: [[UInt8]]
    private let addresses: [[UInt8]]
    private let partitions: [Int]

    /// - Parameters:
    ///   - cellCount: Rounded down to what probes, targets and minutes make.
    ///   - endMilliseconds: The last minute ends before this time.
    init(eventCount: Int, cellCount: Int, order: Order, endMilliseconds: Int64) {
        // Few cells are few probes in one minute, many are many probes over some minutes.
        windowCount = cellCount >= 100_000 ? 10 : 1
        clientCount = max(1, cellCount / windowCount / Self.targetCount)
        self.cellCount = clientCount * Self.targetCount * windowCount
        eventsPerCell = max(1, eventCount / self.cellCount)
        self.order = order
        let minute: Int64 = 60_000
        startMilliseconds = (endMilliseconds / minute - Int64(windowCount)) * minute
        clients = (0..<clientCount).map { Array("probe-\(1_000_000 + $0)".utf8) }
        targets = (0..<Self.targetCount).map { Array("https://target-\($0).example.com/".utf8) }
        addresses = (0..<clientCount).map {
            Array("198.51.\(100 + $0 / 250 % 100).\($0 % 250)".utf8)
        }
        partitions = clients.map { client in
            client.withUnsafeBytes { Partitioning.standard.partition(ofClient: $0) }
        }
    }

    /// Events without the repeated ones.
    var eventCount: Int { cellCount * eventsPerCell }

    /// Calls `body` with every event and its partition, repeated events included, in the order of the log.
    ///
    /// - Returns: how many there were.
    func forEach(_ body: (EventFields, Int) -> Void) -> Int {
        var random = SeededGenerator(seed: 7)
        var made = 0
        switch order {
        case .ordered:
            for index in 0..<eventCount { make(index, body) }
            made = eventCount
        case .shuffled:
            for start in stride(from: 0, to: eventCount, by: Self.stretch) {
                var indices = Array(start..<min(start + Self.stretch, eventCount))
                indices.shuffle(using: &random)
                for index in indices { make(index, body) }
            }
            made = eventCount
        case .duplicates:
            for index in 0..<eventCount {
                make(index, body)
                made += 1
                if index >= Self.repeatDistance, random.next() % Self.repeatShare == 0 {
                    make(index - Self.repeatDistance, body)
                    made += 1
                }
            }
        }
        return made
    }

    private func make(_ index: Int, _ body: (EventFields, Int) -> Void) {
        let perWindow = eventCount / windowCount
        let perCycle = clientCount * Self.targetCount
        let (window, position) = index.quotientAndRemainder(dividingBy: perWindow)
        let (cycle, place) = position.quotientAndRemainder(dividingBy: perCycle)
        let (client, target) = place.quotientAndRemainder(dividingBy: Self.targetCount)
        let number = (window * eventsPerCell + cycle) * Self.targetCount + target + 1
        let minute: Int64 = 60_000
        let measured =
            startMilliseconds + Int64(window) * minute
            + Int64(position) * minute / Int64(max(1, perWindow))

        var random = SeededGenerator(seed: UInt64(index))
        clients[client].withUnsafeBytes { clientName in
            targets[target].withUnsafeBytes { targetName in
                addresses[client].withUnsafeBytes { address in
                    var fields = EventFields(clientID: clientName, target: targetName)
                    fields.id = .random(using: &random)
                    fields.measuredAtMilliseconds = measured
                    fields.receivedAtMilliseconds = measured + 50
                    fields.session = UniqueID(high: 7, low: UInt64(client))
                    fields.sequenceNumber = UInt64(number)
                    fields.sourceIP = address
                    fields.asn = 64500
                    for metric in Self.metrics {
                        // Each metric has its own size, and varies by a fifth around it.
                        let typical = UInt64(metric.rawValue + 1) * 10_000_000
                        let value = typical * 4 / 5 + random.next() % (typical * 2 / 5)
                        fields.set(MetricValue(millionths: value), for: metric)
                    }
                    body(fields, partitions[client])
                }
            }
        }
    }

    /// Calls `body` with the sealed blocks of all partitions, in the order of the log.
    ///
    /// - Parameter partitionCount: As many as the stream has; 1 gives all events to one.
    /// - Returns: how many events there were.
    func forEachBlock(
        byteCountMax: Int = 64 << 10, partitionCount: Int = Partitioning.standard.count,
        _ body: ([UInt8], _ partition: Int, _ events: Int) -> Void
    ) -> Int {
        var builders = (0..<partitionCount).map {
            BlockBuilder(
                partition: $0, producer: UniqueID(high: 1, low: 2), byteCountMax: byteCountMax)
        }
        var numbers = builders.map { _ in UInt64(0) }
        func seal(_ partition: Int) {
            numbers[partition] += 1
            let events = builders[partition].eventCount
            body(builders[partition].seal(blockNumber: numbers[partition]), partition, events)
        }
        let count = forEach { fields, partition in
            let partition = partition % partitionCount
            if builders[partition].append(fields) { return }
            seal(partition)
            _ = builders[partition].append(fields)
        }
        for partition in builders.indices where !builders[partition].isEmpty { seal(partition) }
        return count
    }
}

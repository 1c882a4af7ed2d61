import Blocks
import Sketches
import Telemetry
import TestKit
import Windowing

/// Blocks as `ingest` makes them of honest traffic: some probes, a few targets each, six metrics.
struct Traffic {
    let events: [Event]
    let blocks: [[UInt8]]

    init(eventCount: Int, probeCount: Int, eventsPerBlock: Int) {
        var random = SeededGenerator(seed: 1)
        let metrics: [Metric] = [.dns, .tcp, .tls, .ttfb, .throughput, .total]
        let start: Int64 = 1_703_347_200_000
        var numbers = [UInt64](repeating: 0, count: probeCount)
        events = (0..<eventCount).map { index in
            let probe = index % probeCount
            numbers[probe] += 1
            var event = Event(
                id: .random(using: &random), clientID: Name("probe-\(probe)"),
                target: Name("https://target-\(random.next() % 4).example.com/health"),
                measuredAtMilliseconds: start + Int64(index / max(1, probeCount)) * 100,
                context: NetworkContext(
                    sourceIP: Name("192.0.2.\(probe % 250)"), networkType: "wifi",
                    isp: "Example ISP", asn: 64500, region: "eu-west", resolver: "192.0.2.53"),
                sequence: SessionSequence(
                    session: UniqueID(high: 7, low: UInt64(probe)), number: numbers[probe]))
            for metric in metrics {
                let value = 5e6 + Double(random.next() % 1_000_000_000) / 10
                event.metrics[metric] = MetricValue(millionths: UInt64(value))
            }
            return event
        }
        var builder = BlockBuilder(
            partition: 0, producer: UniqueID(high: 1, low: 2), byteCountMax: 1 << 20)
        var blocks: [[UInt8]] = []
        for event in events {
            _ = builder.append(event, receivedAtMilliseconds: event.measuredAtMilliseconds + 50)
            if builder.eventCount == eventsPerBlock {
                blocks.append(builder.seal(blockNumber: UInt64(blocks.count + 1)))
            }
        }
        if !builder.isEmpty { blocks.append(builder.seal(blockNumber: UInt64(blocks.count + 1))) }
        self.blocks = blocks
    }
}

/// Blocks and windows: what an event costs between the parser and the database.
func coreComparison() -> Comparison {
    let traffic = Traffic(eventCount: 200_000, probeCount: 200, eventsPerBlock: 600)
    let count = traffic.events.count
    return Comparison(
        title: "Core, one thread, \(count) events, 200 probes × 4 targets, 6 metrics",
        unit: "event",
        baseline: .init(name: "reading the blocks (their checksum)", operations: count) {
            traffic.blocks.reduce(0) { $0 ^ XXHash64.hash($1.span.bytes) }
        },
        candidates: [
            .init(name: "checking the blocks in full", operations: count) {
                traffic.blocks.reduce(0) { sum, block in
                    sum
                        &+ block.withUnsafeBytes { bytes in
                            UInt64((try? BlockReader(validating: bytes))?.eventCount ?? 0)
                        }
                }
            },
            .init(name: "counting the blocks into cells", operations: count) {
                countIntoCells(traffic.blocks)
            },
        ])
}

private func countIntoCells(_ blocks: [[UInt8]]) -> UInt64 {
    var state = PartitionState(partition: 0, progress: PartitionProgress(), newestWindow: nil)
    for (index, block) in blocks.enumerated() {
        let position = PartitionState.Position(
            sequence: UInt64(index + 1), brokerMilliseconds: 1_703_347_200_000 + Int64(index) * 100)
        block.withUnsafeBytes { bytes in
            guard let reader = try? BlockReader(validating: bytes) else { return }
            let resolution = state.resolve(reader, at: position)
            state.install(cells: [], sessions: [])
            state.apply(reader, resolution, at: position)
        }
    }
    return UInt64(state.cellCount)
}

/// Quantiles: the sketch against keeping and sorting every value.
func sketchComparison() -> Comparison {
    var random = SeededGenerator(seed: 2)
    let values = (0..<1_000_000).map { _ in random.next() % 1_000_000_000 }
    return Comparison(
        title: "Quantiles of \(values.count) values", unit: "value",
        baseline: .init(name: "sorting them", operations: values.count) {
            values.sorted()[values.count / 2]
        },
        candidates: [
            .init(name: "inserting them into a sketch", operations: values.count) {
                var sketch = QuantileSketch()
                for value in values { sketch.insert(MetricValue(millionths: value)) }
                return UInt64(sketch.quantile(0.5) ?? 0)
            }
        ])
}

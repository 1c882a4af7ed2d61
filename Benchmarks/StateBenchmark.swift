import Blocks
import Telemetry
import Windowing

/// What an event and a cell cost in memory, without any I/O.
struct StateBenchmark {
    var cellCounts = [1000, 100_000, 1_000_000]

    private static let startMilliseconds: Int64 = 1_703_347_200_000
    private static let eventsPerCellMin = 8
    private static let eventCountMin = 1_000_000

    func run() {
        print("State of a partition, one thread, CPU time; each event measures 6 metrics")
        print(
            pad("cells", -9), pad("events/cell", -12), pad("check ns", -9), pad("count ns", -9),
            pad("of 1st", -7), pad("bytes/cell", -11), pad("flush ns/row", -13),
            pad("again ns", -9))
        var first: Double?
        for cellCount in cellCounts {
            let count = measure(cellCount, first)
            first = first ?? count
        }
        print("")
    }

    /// - Returns: nanoseconds per event counted.
    private func measure(_ cellCount: Int, _ first: Double?) -> Double {
        let workload = Workload(
            eventCount: max(Self.eventCountMin, cellCount * Self.eventsPerCellMin),
            cellCount: cellCount, order: .ordered, endMilliseconds: Self.startMilliseconds)
        var blocks: [[UInt8]] = []
        let eventCount = workload.forEachBlock(partitionCount: 1) { block, _, _ in
            blocks.append(block)
        }
        let checkStart = ProcessUsage.ownCPUSeconds
        let validated = blocks.compactMap { try? ValidatedBlock($0) }
        let check = nanoseconds(since: checkStart, per: eventCount)

        let memory = ProcessUsage.ownMemory
        var state = PartitionState(
            partition: 0, progress: PartitionProgress(), newestWindow: nil,
            limits: .init(cellCountMax: .max, dirtyRowCountMax: .max))
        let countStart = ProcessUsage.ownCPUSeconds
        for (index, block) in validated.enumerated() {
            let position = PartitionState.Position(
                sequence: UInt64(index + 1), brokerMilliseconds: Self.startMilliseconds)
            block.withReader { reader in
                let resolution = state.resolve(reader, at: position)
                state.install(cells: [], sessions: [])
                state.apply(reader, resolution, at: position)
            }
        }
        let count = nanoseconds(since: countStart, per: eventCount)
        let bytesPerCell = (ProcessUsage.ownMemory - memory) / max(1, state.cellCount)
        precondition(state.progress.counters.counted == Int64(eventCount))

        let flush = flushTime(&state)
        // Once more with everything known: what a later retry of all events costs.
        let againStart = ProcessUsage.ownCPUSeconds
        for (index, block) in validated.enumerated() {
            let position = PartitionState.Position(
                sequence: UInt64(validated.count + index + 1),
                brokerMilliseconds: Self.startMilliseconds)
            block.withReader { reader in
                let resolution = state.resolve(reader, at: position)
                state.apply(reader, resolution, at: position)
            }
        }
        let again = nanoseconds(since: againStart, per: eventCount)
        print(
            pad("\(state.cellCount)", -9), pad("\(workload.eventsPerCell)", -12),
            pad(decimal(check, 1), -9), pad(decimal(count, 1), -9),
            pad(decimal(count / (first ?? count), 2), -7), pad("\(bytesPerCell)", -11),
            pad(decimal(flush, 1), -13), pad(decimal(again, 1), -9))
        return count
    }

    private func flushTime(_ state: inout PartitionState) -> Double {
        let start = ProcessUsage.ownCPUSeconds
        guard let batch = state.makeFlush(caughtUpAtMilliseconds: nil) else { return 0 }
        let time = nanoseconds(since: start, per: batch.cells.count)
        state.confirm(batch)
        return time
    }

    /// CPU time, since the machine may be busy with other work.
    private func nanoseconds(since start: Double, per count: Int) -> Double {
        (ProcessUsage.ownCPUSeconds - start) * 1e9 / Double(max(1, count))
    }
}

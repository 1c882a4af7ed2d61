internal import Synchronization

/// A spool in memory: what it holds is lost with the process.
package final class MemorySpool: EventSpool {
    /// The default bound: an hour of 16 targets measured every 10 s, about 3 MB.
    package static let countMaxDefault = 6000

    private struct State {
        /// The events that wait begin at `head`: removing from the front of an array moves the rest.
        var events: [SpooledEvent] = []
        var head = 0
        var headPosition: UInt64 = 0
        var status = SpoolStatus()
        var droppedNumbers: ClosedRange<UInt64>?

        var waiting: ArraySlice<SpooledEvent> { events[head...] }

        mutating func removeFirst(_ count: Int) {
            for event in waiting.prefix(count) { status.bytes -= event.json.count }
            head += count
            headPosition += UInt64(count)
            status.depth -= count
            // Moved at most once per removed event.
            if head * 2 > events.count {
                events.removeFirst(head)
                head = 0
            }
        }
    }

    private let countMax: Int
    private let state = Mutex(State())

    package init(countMax: Int = countMaxDefault) {
        precondition(countMax > 0, "a spool holds at least one event")
        self.countMax = countMax
    }

    package func append(_ event: SpooledEvent) {
        state.withLock { state in
            if state.status.depth == countMax, let oldest = state.waiting.first {
                let first = state.droppedNumbers?.lowerBound ?? oldest.number
                state.droppedNumbers = min(first, oldest.number)...max(first, oldest.number)
                state.status.dropped += 1
                state.removeFirst(1)
            }
            state.events.append(event)
            state.status.depth += 1
            state.status.bytes += event.json.count
        }
    }

    package func oldest(countMax: Int, bytesMax: Int) -> SpooledBatch {
        state.withLock { state in
            var bytes = 0
            let fitting = state.waiting.prefix(max(1, countMax)).prefix { event in
                bytes += event.json.count + 1
                return bytes <= bytesMax
            }
            let events = fitting.isEmpty ? state.waiting.prefix(1) : fitting
            return SpooledBatch(events: Array(events), firstPosition: state.headPosition)
        }
    }

    package func remove(_ batch: SpooledBatch) {
        state.withLock { state in
            let end = batch.firstPosition + UInt64(batch.events.count)
            guard end > state.headPosition else { return }
            state.removeFirst(min(state.status.depth, Int(clamping: end - state.headPosition)))
        }
    }

    package func takeDroppedNumbers() -> ClosedRange<UInt64>? {
        state.withLock { state in
            let numbers = state.droppedNumbers
            state.droppedNumbers = nil
            return numbers
        }
    }

    package var status: SpoolStatus {
        state.withLock { state in
            var status = state.status
            status.oldestMeasuredAtMilliseconds = state.waiting.first?.measuredAtMilliseconds
            return status
        }
    }
}

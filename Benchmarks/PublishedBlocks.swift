import OwnedThreads
import Telemetry

/// When blocks were published, and when they were seen to be committed.
final class PublishedBlocks: Sendable {
    private struct State {
        /// Sent and not yet acknowledged, per partition in order.
        var sent = [[ContinuousClock.Instant]](
            repeating: [], count: Partitioning.standard.count)
        var open = [[(sequence: UInt64, sent: ContinuousClock.Instant)]](
            repeating: [], count: Partitioning.standard.count)
        var latencies: [Double] = []
    }

    private let state = Monitor(State())

    /// Seconds from the publish of each block to its rows.
    var latencies: [Double] { state.withLock { $0.latencies } }

    var openCount: Int {
        state.withLock { zip($0.sent, $0.open).reduce(0) { $0 + $1.0.count + $1.1.count } }
    }

    func sends(_ partition: Int, at time: ContinuousClock.Instant) {
        state.withLock { $0.sent[partition].append(time) }
    }

    func stored(_ sequence: UInt64, _ partition: Int) {
        state.withLock { state in
            guard !state.sent[partition].isEmpty else { return }
            state.open[partition].append((sequence, state.sent[partition].removeFirst()))
        }
    }

    func committed(_ sequences: [UInt64], at time: ContinuousClock.Instant) {
        state.withLock { state in
            for partition in state.open.indices {
                let done = state.open[partition].prefix { $0.sequence <= sequences[partition] }
                state.latencies += done.map { (time - $0.sent) / .seconds(1) }
                state.open[partition].removeFirst(done.count)
            }
        }
    }
}

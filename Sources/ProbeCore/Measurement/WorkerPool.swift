internal import OwnedThreads

/// Owned threads that run blocking work at once or not at all.
///
/// There is no queue: a measurement that waited for a thread would be made at another time than the
/// schedule says.
package final class WorkerPool: Sendable {
    private struct State {
        var threads: [OwnedThread] = []
        /// Work that an idle thread is about to take.
        var handedOver: [@Sendable () -> Void] = []
        var busy = 0
        var isStopped = false
    }

    /// The most threads, and so the most work at once.
    package let threadsMax: Int
    private let state = Monitor(State())

    package init(threadsMax: Int) {
        precondition(threadsMax > 0, "a pool without threads works nothing")
        self.threadsMax = threadsMax
    }

    /// Runs `work` on a thread of the pool; false, and nothing is run, when all are busy.
    package func run(_ work: @escaping @Sendable () -> Void) -> Bool {
        state.update { state in
            guard !state.isStopped, state.busy < threadsMax else { return false }
            if state.threads.count == state.busy {
                let shared = self.state
                state.threads.append(
                    OwnedThread(name: "measure-\(state.threads.count)") { Self.serve(shared) })
            }
            state.busy += 1
            state.handedOver.append(work)
            return true
        }
    }

    /// Work under way.
    package var busy: Int { state.withLock { $0.busy } }

    /// Takes no more work, waits for the end of what runs, and joins the threads.
    package func shutDown() {
        let threads = state.update { state in
            state.isStopped = true
            defer { state.threads = [] }
            return state.threads
        }
        for thread in threads { thread.join() }
    }

    private static func serve(_ shared: Monitor<State>) {
        while true {
            let next: (@Sendable () -> Void)?? = shared.wait(until: nil) { state in
                if !state.handedOver.isEmpty { return .some(state.handedOver.removeFirst()) }
                return state.isStopped ? .some(nil) : nil
            }
            guard case .some(.some(let work)) = next else { return }
            work()
            shared.update { $0.busy -= 1 }
        }
    }
}

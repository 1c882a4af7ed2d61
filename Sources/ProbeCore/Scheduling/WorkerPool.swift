internal import OwnedThreads

/// Owned threads that run blocking work at once or not at all.
///
/// There is no queue: a measurement that waited for a thread would be made at another time than the
/// schedule says.
package final class WorkerPool: Sendable {
    /// Blocking work; gives what to do once its thread counts as idle again.
    package typealias Work = @Sendable () -> @Sendable () -> Void

    private struct State {
        var threads: [OwnedThread] = []
        /// Work that an idle thread is about to take.
        var handedOver: [Work] = []
        var busy = 0
        var isStopped = false
    }

    private let state = Monitor(State())

    package init() {}

    /// Runs `work` on a thread of the pool; false, and nothing is run, when `threadsMax` are busy, or
    /// the system has no thread for it.
    package func run(atMost threadsMax: Int, _ work: @escaping Work) -> Bool {
        state.update { state in
            guard !state.isStopped, state.busy < threadsMax else { return false }
            if state.threads.count == state.busy {
                let shared = self.state
                let name = "measure-\(state.threads.count)"
                guard let thread = OwnedThread(ifPossible: name, { Self.serve(shared) }) else {
                    return false
                }
                state.threads.append(thread)
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
            let next: Work?? = shared.wait(until: nil) { state in
                if !state.handedOver.isEmpty { return .some(state.handedOver.removeFirst()) }
                return state.isStopped ? .some(nil) : nil
            }
            guard case .some(.some(let work)) = next else { return }
            let epilogue = work()
            shared.update { $0.busy -= 1 }
            epilogue()
        }
    }
}

import Synchronization
import TestKit

/// What the driver knows of its events, kept outside of the system under test.
final class OpLog: Sendable {
    struct State {
        /// Got 202 at least once, in the order in which they did.
        var accepted: [Sample] = []
        var isAccepted: Set<String> = []
        /// Sent without an answer that settles it; to be sent again.
        var unknown: [Sample] = []
        var requests = 0
        var duplicatesSent = 0
        /// Answers that should not occur.
        var refusals: [String] = []
    }

    private let state = Mutex(State())

    var snapshot: State { state.withLock { $0 } }

    /// Samples to send again: what is unknown, and some of what was accepted long ago.
    func again(_ random: inout SeededGenerator, unknown: Int, duplicates: Int) -> [Sample] {
        state.withLock { state in
            var samples = Array(state.unknown.prefix(unknown))
            state.unknown.removeFirst(samples.count)
            for _ in 0..<duplicates {
                guard let sample = state.accepted.randomElement(using: &random) else { break }
                samples.append(sample)
                state.duplicatesSent += 1
            }
            return samples
        }
    }

    func settle(_ samples: [Sample], _ outcome: Outcome) {
        state.withLock { state in
            state.requests += 1
            switch outcome {
            case .accepted:
                for sample in samples where state.isAccepted.insert(sample.eventID).inserted {
                    state.accepted.append(sample)
                }
            case .unknown:
                state.unknown += samples.filter { !state.isAccepted.contains($0.eventID) }
            case .refused(let answer):
                state.refusals.append(answer)
            }
        }
    }
}

/// What a post came to.
enum Outcome {
    case accepted
    /// No answer, or one that asks to send again.
    case unknown
    case refused(String)
}

import Synchronization
import TestKit

/// What the driver knows of its events, kept outside of the system under test.
final class OpLog: Sendable {
    struct State {
        /// Got 202 at least once, in the order in which they did.
        var accepted: [Sample] = []
        fileprivate var isAccepted: Set<String> = []
        /// When a sample was sent for the first time.
        fileprivate var firstSent: [String: ContinuousClock.Instant] = [:]
        /// Sent without an answer that settles it; to be sent again.
        var unknown: [Sample] = []
        var requests = 0
        var duplicatesSent = 0
        /// Answers that should not occur.
        var refusals: [String] = []
    }

    private let state = Mutex(State())

    /// An event without a number may come again within 15 minutes of the log; this leaves room for what waits.
    private static let repeatableFor = Duration.seconds(10 * 60)

    var snapshot: State { state.withLock { $0 } }

    /// Samples to send again: what is unknown, and some of what was accepted long ago or just now.
    func again(_ random: inout SeededGenerator, unknown: Int, duplicates: Int) -> [Sample] {
        state.withLock { state in
            var samples = Array(state.unknown.prefix(unknown))
            state.unknown.removeFirst(samples.count)
            for _ in 0..<duplicates {
                // One in four from the beginning of the run.
                let isOld = random.chance(25)
                let pool = isOld ? state.accepted.prefix(500) : state.accepted[...]
                guard let sample = pool.randomElement(using: &random) else { break }
                let age = state.firstSent[sample.eventID].map { ContinuousClock.now - $0 }
                guard sample.numbered != nil || age.map({ $0 < Self.repeatableFor }) == true else {
                    continue
                }
                samples.append(sample)
                state.duplicatesSent += 1
            }
            return samples
        }
    }

    /// From here on nothing that is accepted now and has no number is sent again.
    func repeatNoUnnumbered() {
        state.withLock { state in
            for sample in state.accepted where sample.numbered == nil {
                state.firstSent[sample.eventID] = .now.advanced(by: Self.repeatableFor * -2)
            }
        }
    }

    func willSend(_ samples: [Sample]) {
        let now = ContinuousClock.now
        state.withLock { state in
            for sample in samples where state.firstSent[sample.eventID] == nil {
                state.firstSent[sample.eventID] = now
            }
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

import Synchronization

/// What can go wrong in a run, each by its name in `QOE_CHAOS_FAULTS`.
enum ChaosFault: String, CaseIterable, Sendable {
    /// One to three programs die at once and come back in another order.
    case kill
    case natsKill = "nats-kill"
    case postgresKill = "postgres-kill"
    /// The replica takes over, mostly without the last commits.
    case failover
    /// After a failover the old primary comes back, where clients look first.
    case splitBrain = "split-brain"
    /// Aggregators join and leave, in order and by force.
    case members
    /// The stream is restored from an older copy.
    case restore
    case natsDisk = "nats-disk"
    case postgresDisk = "postgres-disk"
    /// An aggregator is frozen for longer than its lease and wakes up as a zombie.
    case freeze
    case cut
    case halfOpen = "half-open"
    case stall
    case delay
    case commitLost = "commit-lost"

    /// Faults of processes and their data happen one after the other; those of links beside them.
    var isOfLinks: Bool {
        switch self {
        case .freeze, .cut, .halfOpen, .stall, .delay, .commitLost: true
        default: false
        }
    }

    /// Why it cannot happen here; nil when it can.
    var obstacle: String? {
        switch self {
        case .natsDisk, .postgresDisk: Volume.obstacle
        default: nil
        }
    }
}

/// What happened in a run.
final class FaultLog: Sendable {
    struct State {
        var counts: [String: Int] = [:]
        var restorations: [Restoration] = []
        /// Ways in which a fault itself went wrong.
        var violations: [String] = []
    }

    private let state = Mutex(State())

    var snapshot: State { state.withLock { $0 } }

    func count(_ name: String, _ count: Int = 1) {
        state.withLock { $0.counts[name, default: 0] += count }
    }

    func add(_ restoration: Restoration) {
        state.withLock { $0.restorations.append(restoration) }
    }

    func violation(_ text: String) {
        state.withLock { $0.violations.append(text) }
    }
}

/// A restore of the stream from an older copy.
struct Restoration: Sendable {
    /// What the server had before.
    let lostStore: String
    let copiedStore: String
    /// Partition to the last sequence of the lost stream whose effects are in the tables.
    let committed: [Int: UInt64]
}

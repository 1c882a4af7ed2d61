internal import Synchronization

/// So much per second, with room for a burst.
struct RateLimit: Hashable, Sendable {
    let perSecond: Int
    /// What may come at once after a pause: as much as this time allows, seconds.
    let burstSeconds: Int

    /// Nil when nothing limits.
    init?(perSecond: Int?, burstSeconds: Int) {
        guard let perSecond else { return nil }
        self.init(perSecond: perSecond, burstSeconds: burstSeconds)
    }

    init(perSecond: Int, burstSeconds: Int) {
        self.perSecond = max(1, perSecond)
        self.burstSeconds = max(1, burstSeconds)
    }
}

/// Why something has to wait.
struct RateExcess: Hashable, Sendable {
    let rule: RateRule
    let limit: RateLimit
    /// Until one more is admitted, nanoseconds.
    let waitNanoseconds: Int64

    /// Whole seconds, at least 1.
    var waitSeconds: Int64 { max(1, (waitNanoseconds &+ 999_999_999) / 1_000_000_000) }
}

/// What is limited.
enum RateRule: String, CaseIterable, Sendable {
    case tokenEvents = "token_events"
    case tokenBytes = "token_bytes"
    case clientEvents = "client_events"
    case clientBytes = "client_bytes"

    /// As in "too many ___".
    var words: String {
        switch self {
        case .tokenEvents: "events with this token"
        case .tokenBytes: "bytes with this token"
        case .clientEvents: "events of this client"
        case .clientBytes: "bytes of this client"
        }
    }
}

/// Token buckets by name, all in one table.
///
/// A bucket that has anything left admits a whole request and then owes what the request took beyond, so that a
/// batch larger than the burst is possible and the long-run rate still holds. Kept per bucket is the moment at
/// which it will be full again: the generic cell rate algorithm (ITU-T I.371, annex A).
final class RateTable: Sendable {
    struct Key: Hashable, Sendable {
        let rule: RateRule
        /// Of a token or client.
        let name: UInt64
    }

    /// More than these are not told apart from newcomers: those that are full are forgotten first.
    private let bucketsMax: Int
    private let shards: [Shard]

    private struct Buckets {
        /// When a bucket is full again, nanoseconds of a monotonic clock.
        var fullAt: [Key: Int64] = [:]
        var sweptAt = Int64.min
    }

    private final class Shard: Sendable {
        let buckets = Mutex(Buckets())
    }

    /// Full buckets are looked for no more often, however many newcomers find no room, nanoseconds.
    private static let sweepInterval: Int64 = 100_000_000

    private static let shardCount = 16

    init(bucketsMax: Int = 1 << 20) {
        self.bucketsMax = bucketsMax
        shards = (0..<Self.shardCount).map { _ in Shard() }
    }

    var bucketCount: Int { shards.reduce(0) { $0 + $1.buckets.withLock { $0.fullAt.count } } }

    /// Whether the bucket has anything left; nil when it has.
    func excess(_ key: Key, _ limit: RateLimit, at now: Int64) -> RateExcess? {
        let fullAt = shard(of: key).buckets.withLock { $0.fullAt[key] } ?? now
        let wait = fullAt &- now &- limit.burstNanoseconds
        return wait >= 0
            ? RateExcess(rule: key.rule, limit: limit, waitNanoseconds: wait &+ 1) : nil
    }

    /// Takes `count` from the bucket, which may then owe.
    func take(_ count: Int, from key: Key, _ limit: RateLimit, at now: Int64) {
        let cost = limit.nanoseconds(of: count)
        shard(of: key).buckets.withLock { buckets in
            if buckets.fullAt[key] == nil, !Self.makeRoom(in: &buckets, bucketsMax, at: now) {
                // Every bucket is in use: a newcomer goes unlimited rather than somebody limited go free.
                return
            }
            let (moment, overflows) = max(buckets.fullAt[key] ?? now, now)
                .addingReportingOverflow(cost)
            buckets.fullAt[key] = overflows ? .max : moment
        }
    }

    private static func makeRoom(
        in buckets: inout Buckets, _ bucketsMax: Int, at now: Int64
    ) -> Bool {
        let countMax = max(1, bucketsMax / shardCount)
        if buckets.fullAt.count < countMax { return true }
        guard buckets.sweptAt <= now &- sweepInterval else { return false }
        buckets.sweptAt = now
        buckets.fullAt = buckets.fullAt.filter { $0.value > now }
        return buckets.fullAt.count < countMax
    }

    private func shard(of key: Key) -> Shard {
        shards[Int(key.name % UInt64(Self.shardCount))]
    }
}

extension RateLimit {
    fileprivate var burstNanoseconds: Int64 {
        Int64(clamping: burstSeconds).multipliedReportingOverflow(by: 1_000_000_000).partialValue
    }

    fileprivate func nanoseconds(of count: Int) -> Int64 {
        let (product, overflows) = Int64(clamping: count)
            .multipliedReportingOverflow(by: 1_000_000_000)
        return overflows ? .max : product / Int64(clamping: perSecond)
    }
}

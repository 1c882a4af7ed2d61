internal import Synchronization

/// What a probe has done since its start; nothing is dropped or skipped without being counted here.
package final class ProbeCounters: Sendable {
    /// A count that only grows.
    package struct Count: ~Copyable, Sendable {
        private let value = Atomic<UInt64>(0)

        package func add(_ more: Int = 1) {
            value.wrappingAdd(UInt64(max(0, more)), ordering: .relaxed)
        }

        package var total: UInt64 { value.load(ordering: .relaxed) }
    }

    /// Measurements of which the target's answer was good.
    package let measurementsSucceeded = Count()
    /// Measurements that failed in a stage.
    package let measurementsFailed = Count()
    /// Measurements that this machine could not make.
    package let measurementsNotMade = Count()
    /// Bytes that measurements caused, both ways.
    package let bytesMeasured = Count()
    /// Events that a server has taken.
    package let eventsDelivered = Count()
    /// Events that a server refused for good, one by one or by whole batches.
    package let eventsRefused = Count()
    /// Posts of events that failed and were to be tried again.
    package let postsFailed = Count()
    /// Posts of events that were answered.
    package let postsAnswered = Count()
    /// Bytes of the bodies of answered posts of events, as sent.
    package let bytesPosted = Count()
    /// Times at which the wall clock was set.
    package let clockSteps = Count()
    package let heartbeatsSent = Count()
    package let heartbeatsFailed = Count()

    private let exchanges = Mutex<[TimeExchangeOutcome: UInt64]>([:])
    private let error = Mutex<String?>(nil)
    private let skipped = Mutex<[SkipReason: UInt64]>([:])

    package init() {}

    /// Counts slots of the schedule in which a target was not measured.
    package func skip(_ reason: SkipReason, _ count: Int = 1) {
        guard count > 0 else { return }
        skipped.withLock { $0[reason, default: 0] &+= UInt64(count) }
    }

    /// Slots of the schedule in which a target was not measured for this reason.
    package func slotsSkipped(_ reason: SkipReason) -> UInt64 {
        skipped.withLock { $0[reason] ?? 0 }
    }

    /// Counts an attempt to learn ingest's time.
    package func count(_ outcome: TimeExchangeOutcome) {
        exchanges.withLock { $0[outcome, default: 0] &+= 1 }
    }

    /// The attempts to learn ingest's time that came to this.
    package func exchanges(_ outcome: TimeExchangeOutcome) -> UInt64 {
        exchanges.withLock { $0[outcome] ?? 0 }
    }

    /// The last thing that went wrong on this machine or with delivery, for the heartbeat.
    package var lastError: String? {
        get { error.withLock { $0 } }
        set { error.withLock { $0 = newValue } }
    }
}

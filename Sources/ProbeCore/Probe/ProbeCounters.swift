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
    /// Slots of the schedule that passed before the probe looked.
    package let slotsMissed = Count()
    /// Slots of the schedule that were skipped as too many measurements were under way.
    package let slotsSkipped = Count()
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

    package init() {}

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

/// An event that waits for delivery: encoded once, so a retry posts the same bytes.
package struct SpooledEvent: Sendable, Hashable {
    /// The event's number in its session.
    package let number: UInt64
    /// When it was measured, Unix milliseconds.
    package let measuredAtMilliseconds: Int64
    /// The event as a JSON object.
    package let json: [UInt8]

    package init(number: UInt64, measuredAtMilliseconds: Int64, json: [UInt8]) {
        self.number = number
        self.measuredAtMilliseconds = measuredAtMilliseconds
        self.json = json
    }
}

/// Where events wait until a server has taken them, in the order in which they were added.
///
/// Safe to share among threads. It is bounded: what does not fit drops the oldest, counted and told.
package protocol EventSpool: Sendable {
    /// Adds an event as the newest.
    func append(_ event: SpooledEvent)

    /// The oldest events, as many as both limits allow and at least one if there is any.
    func oldest(countMax: Int, bytesMax: Int) -> SpooledBatch

    /// Removes the events of a batch; those that were dropped meanwhile are gone already.
    func remove(_ batch: SpooledBatch)

    /// The numbers around the events that were dropped since the last call, for the log.
    func takeDroppedNumbers() -> ClosedRange<UInt64>?

    /// What waits and what was lost.
    var status: SpoolStatus { get }
}

/// The oldest events of a spool at one moment.
package struct SpooledBatch: Sendable {
    package let events: [SpooledEvent]
    /// The spool's own number of the first event; later events count on.
    package let firstPosition: UInt64

    package init(events: [SpooledEvent], firstPosition: UInt64) {
        self.events = events
        self.firstPosition = firstPosition
    }

    /// The events as a JSON array.
    package var json: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(events.reduce(2) { $0 + $1.json.count + 1 })
        bytes.append(UInt8(ascii: "["))
        for (index, event) in events.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes += event.json
        }
        bytes.append(UInt8(ascii: "]"))
        return bytes
    }
}

/// What a spool holds and what it lost.
package struct SpoolStatus: Sendable, Equatable {
    /// Events that wait.
    package var depth = 0
    /// The bytes of their JSON.
    package var bytes = 0
    /// When the oldest that waits was measured, Unix milliseconds.
    package var oldestMeasuredAtMilliseconds: Int64?
    /// Events that were dropped to make room, since the start.
    package var dropped: UInt64 = 0

    package init() {}
}

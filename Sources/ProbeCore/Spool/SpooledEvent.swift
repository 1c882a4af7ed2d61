package import Telemetry

/// An event that waits for delivery: encoded once, so a retry posts the same bytes.
package struct SpooledEvent: Sendable, Hashable {
    /// The start of the probe that made it; an older one than the running probe's after a restart.
    package let session: UniqueID
    /// The event's number in its session.
    package let number: UInt64
    /// When it was measured.
    package let time: EventTime
    /// The event as a JSON object, on one line.
    package let json: [UInt8]

    package init(
        session: UniqueID, number: UInt64, time: EventTime, json: [UInt8]
    ) {
        self.session = session
        self.number = number
        self.time = time
        self.json = json
    }
}

/// Where a spool keeps an event.
enum SpoolPlace: Hashable, Sendable {
    case segment(id: UInt64, index: Int)
    case memory(token: UInt64)
}

/// Events that were taken from a spool to be posted together; they stay in it until they are finished.
package struct SpooledBatch: Sendable {
    struct Item: Sendable {
        let place: SpoolPlace
        let event: SpooledEvent
    }

    let items: [Item]
    /// How many of them are not fresh.
    var backlogCount = 0

    /// The events in the order of their posting.
    package var events: [SpooledEvent] { items.map(\.event) }
    package var isEmpty: Bool { items.isEmpty }
    package var count: Int { items.count }

    /// The events as lines of JSON (`application/x-ndjson`), of which a broken one spoils only itself.
    package var lines: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(items.reduce(0) { $0 + $1.event.json.count + 1 })
        for item in items {
            bytes += item.event.json
            bytes.append(UInt8(ascii: "\n"))
        }
        return bytes
    }

    /// The batch with the times that its events would have, had they been measured now.
    func corrected(by reading: ClockReading) -> SpooledBatch {
        SpooledBatch(
            items: items.map { Item(place: $0.place, event: reading.corrected($0.event)) },
            backlogCount: backlogCount)
    }

    /// The first half, and the rest; a batch of one event is its own first half.
    package var halves: (first: SpooledBatch, rest: SpooledBatch) {
        let middle = (items.count + 1) / 2
        return (
            SpooledBatch(items: Array(items[..<middle])),
            SpooledBatch(items: Array(items[middle...]))
        )
    }
}

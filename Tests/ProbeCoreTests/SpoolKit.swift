import Glibc
import Logging
import ProbeCore
import Telemetry
import TestKit
import Transport

@testable import ProbeCore

let silentLogger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// A temporary folder that goes with its owner.
final class OwnFolder: Sendable {
    let path: String

    init() throws { path = try makeTemporaryFolder() }

    deinit { removeFolder(path) }
}

/// The moment at which these tests measure.
let testNow: Int64 = 1_700_000_000_000

func spoolEvent(
    _ number: UInt64, session: UInt64 = 1, jsonBytes: Int = 100, measuredAt: Int64 = testNow
) -> SpooledEvent {
    let text = "\(session)/\(number) "
    let filling = [UInt8](repeating: UInt8(ascii: "x"), count: max(0, jsonBytes - text.utf8.count))
    return SpooledEvent(
        session: UniqueID(high: 0, low: session), number: number,
        time: EventTime(
            milliseconds: measuredAt, isReference: true,
            boottime: BoottimeInstant(nanoseconds: 0), boot: nil),
        json: Array(text.utf8) + filling)
}

/// A moment at which ingest's time is known exactly.
func reading(_ milliseconds: Int64) -> ClockReading {
    let start = BoottimeInstant(nanoseconds: 0)
    return ClockReading(
        moment: MeasurementMoment(wallNanoseconds: milliseconds * 1_000_000, boottime: start),
        boot: nil,
        estimate: ClockEstimate(
            offsetNanoseconds: milliseconds * 1_000_000, halfWidthNanoseconds: 0, from: start,
            until: start))
}

/// A clock that keeps nothing and knows no more than the machine.
func machineClock() -> ReferenceClock {
    ReferenceClock(stateFolder: nil, counters: ProbeCounters(), logger: silentLogger)
}

/// What an event is called, whatever it holds.
struct EventName: Hashable, Comparable, CustomStringConvertible {
    let session: UInt64
    let number: UInt64

    init(_ session: UInt64, _ number: UInt64) {
        self.session = session
        self.number = number
    }

    init(_ event: SpooledEvent) {
        self.init(event.session.low, event.number)
    }

    var description: String { "\(session)/\(number)" }

    static func < (a: EventName, b: EventName) -> Bool {
        (a.session, a.number) < (b.session, b.number)
    }
}

extension Spool {
    func take(_ request: SpoolRequest, nowMilliseconds: Int64) -> SpooledBatch {
        take(request, at: reading(nowMilliseconds))
    }

    func tick(nowMilliseconds: Int64) {
        tick(at: reading(nowMilliseconds))
    }

    /// Everything that waits, taken and given back.
    func waiting() -> [SpooledEvent] {
        let batch = take(SpoolRequest(countMax: .max, bytesMax: .max), nowMilliseconds: testNow)
        putBack(batch)
        return batch.events
    }

    /// Takes everything and finishes it.
    func drain() -> [SpooledEvent] {
        let batch = take(SpoolRequest(countMax: .max, bytesMax: .max), nowMilliseconds: testNow)
        finish(batch, refused: [])
        return batch.events
    }
}

extension DropLedger {
    var names: [EventName] {
        stretches.flatMap { stretch in
            stretch.numbers.map { EventName(stretch.session.low, $0) }
        }.sorted()
    }
}

/// The files of the events of a spool, oldest first.
func segmentFiles(in stateFolder: String) throws -> [String] {
    try SpoolFile.names(in: "\(stateFolder)/spool").filter { $0.hasSuffix(".events") }.sorted()
        .map { "\(stateFolder)/spool/\($0)" }
}

func bytes(of path: String) throws -> [UInt8] {
    try SpoolFile.bytes(of: path, bytesMax: 64 << 20)
}

func writeBytes(_ bytes: [UInt8], to path: String) throws {
    try SpoolFile(path, emptied: true).write(bytes, at: 0)
}

import Foundation
import Telemetry
import Transport

@testable import ProbeCore

/// Which events were ever found in a spool's files, read without the spool's own opening.
struct SpoolCensus {
    /// Session to number to the moment of measurement, nanoseconds on the probe's clock since boot.
    private(set) var found: [UniqueID: [UInt64: Int64]] = [:]

    var count: Int { found.values.reduce(0) { $0 + $1.count } }

    /// Adds what is in a state folder whose probe does not run.
    mutating func take(_ stateFolder: String) {
        for (_, scan) in Self.segments(in: stateFolder) {
            for place in scan.places {
                let record = place.record
                found[record.session, default: [:]][record.number] =
                    record.time.boottime.nanoseconds
            }
        }
    }

    /// How many events have neither been delivered nor dropped; also beside a running probe.
    static func waitingCount(in stateFolder: String) -> Int {
        let dropped = ledger(in: stateFolder).numbersBySession
        var count = 0
        for (name, scan) in segments(in: stateFolder) {
            let bytes = read("\(stateFolder)/spool/\(name).removed")
            let list = scan.nonce.flatMap { RemovalList(in: bytes, nonce: $0) }
            count += scan.places.count { place in
                let isDropped = dropped[place.record.session]?.contains {
                    $0.contains(place.record.number)
                }
                return isDropped != true && list?.contains(place.start..<place.end) != true
            }
        }
        return count
    }

    /// What the probe says that it will never deliver.
    static func ledger(in stateFolder: String) -> DropLedger {
        DropLedger(text: String(decoding: read("\(stateFolder)/spool/dropped"), as: UTF8.self))
    }

    private static func segments(in stateFolder: String) -> [(name: String, scan: SegmentScan)] {
        let folder = "\(stateFolder)/spool"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.filter { $0.hasSuffix(".events") }.sorted().map { name in
            (String(name.dropLast(".events".count)), SegmentScan(read("\(folder)/\(name)")))
        }
    }

    private static func read(_ path: String) -> [UInt8] {
        FileManager.default.contents(atPath: path).map { Array($0) } ?? []
    }
}

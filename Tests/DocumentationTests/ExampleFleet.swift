import DiagnoserCore
import Foundation
import Postgres
import Store
import Telemetry
import TestKit
import Windowing

/// A made-up fleet that the catalogue's questions are asked about: twelve probes, four targets, nine days up to the
/// minute of ``now``.
///
/// The same but for the time every time it is made, and with something to find: an ISP that got slower since last
/// week, a probe with bad hours, a target that fails, probes that are silent, events that are missing, late or
/// came twice.
struct ExampleFleet {
    private struct Probe {
        let name: Name
        let isp: Name
        let asn: UInt32
        let region: Name
        let network: Network
        let resolver: Resolver
    }

    private enum Network: Name {
        case wired = "wired"
        case wifi = "wifi"
        case lte = "lte"
        case satellite = "satellite"

        /// ms.
        var roundTrip: Double {
            switch self {
            case .wired: 12
            case .wifi: 16
            case .lte: 45
            case .satellite: 590
            }
        }

        /// Mbit/s.
        var rate: Double {
            switch self {
            case .wired: 400
            case .wifi: 150
            case .lte: 40
            case .satellite: 25
            }
        }
    }

    private enum Resolver: Name {
        case near = "192.0.2.53"
        case provider = "203.0.113.53"
        case far = "198.51.100.53"

        /// ms.
        var time: Double {
            switch self {
            case .near: 4
            case .provider: 9
            case .far: 28
            }
        }
    }

    private static let probes: [Probe] = {
        func probe(
            _ number: Int, _ isp: Name, _ asn: UInt32, _ region: Name, _ network: Network,
            _ resolver: Resolver
        ) -> Probe {
            Probe(
                name: Name("probe-" + (number < 10 ? "0" : "") + "\(number)"), isp: isp, asn: asn,
                region: region, network: network, resolver: resolver)
        }
        return [
            probe(1, "Northern Fibre", 64_500, "eu-north", .wired, .near),
            probe(2, "Northern Fibre", 64_500, "eu-north", .wifi, .near),
            probe(3, "Northern Fibre", 64_500, "eu-west", .wired, .near),
            probe(4, "Fjord Mobile", 64_501, "eu-north", .lte, .far),
            probe(5, "Fjord Mobile", 64_501, "eu-north", .lte, .far),
            probe(6, "Fjord Mobile", 64_501, "eu-west", .lte, .provider),
            probe(7, "Harbour Cable", 64_502, "eu-west", .wifi, .provider),
            probe(8, "Harbour Cable", 64_502, "eu-west", .wired, .provider),
            probe(9, "Harbour Cable", 64_502, "us-east", .wifi, .near),
            probe(10, "Skyline Air", 64_503, "us-east", .satellite, .far),
            probe(11, "Skyline Air", 64_503, "us-east", .satellite, .far),
            probe(12, "Skyline Air", 64_503, "eu-north", .satellite, .near),
        ]
    }()

    /// Names and how long each takes to answer, ms.
    private static let targets: [(name: Name, time: Double)] = [
        ("https://api.example.com/health", 25), ("https://cdn.example.com/1k", 9),
        ("https://legacy.example.com/", 140), ("https://shop.example.com/", 60),
    ]

    private static let slowISP: Name = "Fjord Mobile"
    private static let failingTarget: Name = "https://shop.example.com/"
    private static let probeWithBadHours: Name = "probe-07"
    private static let lateProbe: Name = "probe-05"
    private static let minutesPerHour: Int64 = 60
    private static let minutesPerDay: Int64 = 1440
    /// How long ago each probe stopped, minutes.
    private static let silence: [Name: Int64] = ["probe-11": 4, "probe-12": 2 * minutesPerDay]
    private static let partitionCount = 4
    private static let lease: Duration = .seconds(3600)

    /// The first instant of the newest minute, Unix milliseconds.
    let now: Int64

    /// Fills the database with the fleet and makes hours, days and labels.
    func write(to url: String) throws {
        let connection = try PostgresConnection(to: PostgresConnectionString(url))
        defer { connection.close() }
        let store = try AggregateStore(connection)
        var flushes = try (0..<Self.partitionCount).map {
            try Partition($0, store, now: now)
        }
        for index in flushes.indices {
            try flushes[index].write(
                Self.probes.enumerated().filter { $0.offset % Self.partitionCount == index }
                    .map(\.element))
        }
        try writeHeartbeats(store)
        let diagnoses = DiagnosisStore(connection)
        _ = try MinuteLabeler(reader: diagnoses, writer: diagnoses).round()
        try makeRollups(store)
        // What has come since waits for its hours.
        try flushes[0].writeAgain(Self.probes[0])
    }

    private func makeRollups(_ store: AggregateStore) throws {
        while let due = try store.rollups.due(hourDelay: .zero, dayDelay: .zero, limit: 1000),
            !due.isEmpty
        {
            for rollup in due { _ = try store.rollups.make(rollup) }
        }
    }

    // MARK: Minutes

    /// One partition of the stream and what has been written of it.
    private struct Partition {
        private let number: Int
        private let store: AggregateStore
        private let ownership: PartitionOwnership
        private let now: Int64
        private var progress = PartitionProgress()

        init(_ number: Int, _ store: AggregateStore, now: Int64) throws {
            self.number = number
            self.store = store
            self.now = now
            ownership = try ExampleFleet.owner(of: "TELEMETRY_EVENTS", partition: number, store)
        }

        mutating func write(_ probes: [Probe]) throws {
            let sequence = progress.committedSequence + 1
            var cells: [CellRow] = []
            var sessions: [SessionRow] = []
            for probe in probes {
                let rows = ExampleFleet.cells(of: probe, now: now, sequence: sequence)
                let session = ExampleFleet.session(of: probe, rows, sequence: sequence)
                cells += rows
                sessions.append(session)
                progress.counters.counted += rows.reduce(0) { $0 + $1.cell.total }
                progress.counters.late += rows.reduce(0) { $0 + $1.cell.late }
                progress.counters.duplicates += session.duplicates
            }
            let letters =
                number == 0
                ? [
                    DeadLetter(
                        sequence: 1, index: 3, reason: "timestamp_out_of_range",
                        detail: "no window is kept for the time of this event"),
                    DeadLetter(
                        sequence: 1, index: 9, reason: "timestamp_out_of_range",
                        detail: "no window is kept for the time of this event"),
                ] : []
            progress.counters.rejected = Int64(letters.count)
            try flush(
                cells.sorted { $0.key < $1.key }, sessions.sorted { $0.key < $1.key }, letters)
        }

        /// Writes the newest minute of a probe once more, with a new sequence.
        mutating func writeAgain(_ probe: Probe) throws {
            let sequence = progress.committedSequence + 1
            let cells = ExampleFleet.cells(of: probe, now: now, sequence: sequence)
                .filter { $0.key.window.startMilliseconds == now }
            try flush(cells.sorted { $0.key < $1.key }, [], [])
        }

        private mutating func flush(
            _ cells: [CellRow], _ sessions: [SessionRow], _ letters: [DeadLetter]
        ) throws {
            let expected = progress.committedSequence
            progress.committedSequence += 1
            progress.committedBrokerMilliseconds = now
            progress.completeThroughMilliseconds = now - Int64(number) * 1000
            progress.counters.messages += 1
            progress.counters.events =
                progress.counters.counted + progress.counters.duplicates
                + progress.counters.rejected
            _ = try store.flush(
                FlushBatch(
                    expectedSequence: expected, progress: progress, cells: cells,
                    sessions: sessions, deadLetters: letters), by: ownership)
        }
    }

    /// The minutes in which the fleet measured, before ``now``: all of the last ones, two of each hour of the last
    /// day, two of every third hour before, and of the hours of a week ago that this one is compared with.
    private static let minutesAgo: [Int64] = {
        let newest: Int64 = 70
        let days: Int64 = 9
        let sampled = (newest..<days * minutesPerDay).filter { ago in
            let hoursAgo = ago / minutesPerHour
            return [10, 40].contains(ago % minutesPerHour)
                && (hoursAgo <= 26 || hoursAgo % 3 == 1 || (167...170).contains(hoursAgo))
        }
        return Array(0..<newest) + sampled
    }()

    private static func cells(of probe: Probe, now: Int64, sequence: UInt64) -> [CellRow] {
        var rows: [CellRow] = []
        for ago in minutesAgo where ago >= silence[probe.name] ?? 0 {
            let window = Window(minute: Window(containing: now).minute - ago)
            for target in targets {
                rows.append(
                    CellRow(
                        key: CellKey(client: probe.name, target: target.name, window: window),
                        cell: cell(probe, target, minutesAgo: ago, in: window),
                        lastSequence: sequence))
            }
        }
        return rows
    }

    private static func cell(
        _ probe: Probe, _ target: (name: Name, time: Double), minutesAgo: Int64, in window: Window
    ) -> Cell {
        // By names and distance alone, so that nothing else changes what is drawn.
        let seed = "\(probe.name) \(target.name) \(minutesAgo)".utf8
            .reduce(UInt64(1_469_598_103_934_665_603)) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 }
        var random = SeededGenerator(seed: seed)
        let hoursAgo = minutesAgo / minutesPerHour
        let isBadHour = probe.name == probeWithBadHours && (8...11).contains(hoursAgo % 24)
        let isLate = probe.name == lateProbe && hoursAgo == 5
        var cell = Cell()
        for _ in 0..<(minutesAgo < 70 ? 3 : 4) {
            let dns = probe.resolver.time * (isBadHour ? 40 : 1) * random.factor()
            cell.insert(dns, of: .dns)
            if random.chance(isBadHour ? 25 : probe.resolver == .far ? 1 : 0) {
                cell.count(errorStage: .dns, isLate: isLate)
                continue
            }
            let tcp = probe.network.roundTrip * random.factor()
            let tls = 1.4 * probe.network.roundTrip * random.factor()
            cell.insert(tcp, of: .tcp)
            cell.insert(tls, of: .tls)
            if random.chance(target.name == failingTarget && minutesAgo < 70 ? 22 : 0) {
                cell.count(errorStage: .http, isLate: isLate)
                continue
            }
            let slower = probe.isp == slowISP && hoursAgo <= 26 ? 1.7 : 1
            let tail = random.chance(2) ? 7.0 : 1
            let ttfb = (target.time + probe.network.roundTrip) * slower * tail * random.factor()
            cell.insert(ttfb, of: .ttfb)
            cell.insert(dns + tcp + tls + 1.2 * ttfb, of: .total)
            cell.insert(probe.network.rate * random.factor(), of: .throughput)
            cell.count(errorStage: nil, isLate: isLate)
        }
        cell.update(
            context: NetworkContext(
                sourceIP: "198.51.100.7", networkType: probe.network.rawValue, isp: probe.isp,
                asn: probe.asn, region: probe.region, resolver: probe.resolver.rawValue),
            measuredAtMilliseconds: window.startMilliseconds + 40_000)
        return cell
    }

    // MARK: Sessions and heartbeats

    /// Numbers of a probe that never arrived.
    private static let missing: [Name: [Range<UInt64>]] = [
        "probe-05": [120..<132, 400..<401], "probe-09": [77..<79],
    ]
    private static let duplicates: [Name: Int64] = ["probe-04": 37, "probe-08": 2]

    private static func session(of probe: Probe, _ rows: [CellRow], sequence: UInt64) -> SessionRow
    {
        let events = rows.reduce(0) { $0 + $1.cell.total }
        var ranges: [Range<UInt64>] = []
        var next: UInt64 = 1
        var left = UInt64(clamping: events)
        for gap in missing[probe.name] ?? [] {
            ranges.append(next..<gap.lowerBound)
            left -= gap.lowerBound - next
            next = gap.upperBound
        }
        ranges.append(next..<next + left)
        let times = rows.map(\.key.window.startMilliseconds)
        return SessionRow(
            key: SessionKey(client: probe.name, session: sessionID(of: probe)),
            counted: SequenceRanges(ranges: ranges) ?? SequenceRanges(),
            firstMeasuredAtMilliseconds: times.min() ?? 0,
            lastMeasuredAtMilliseconds: (times.max() ?? 0) + 40_000, events: events,
            duplicates: duplicates[probe.name] ?? 0, lastSequence: sequence)
    }

    private static func sessionID(of probe: Probe) -> UniqueID {
        let number = probes.firstIndex { $0.name == probe.name } ?? 0
        return UniqueID(high: 0x8d1f_0000_0000_4000, low: 0x8000_0000_0000_0001 + UInt64(number))
    }

    private func writeHeartbeats(_ store: AggregateStore) throws {
        let rows = Self.probes.enumerated().map { index, probe in
            let received = now - (Self.silence[probe.name] ?? 0) * 60_000
            var heartbeat = Heartbeat(clientID: probe.name, sentAtMilliseconds: received - 12)
            heartbeat.version = index == 8 ? "1.3.2" : "1.4.0"
            heartbeat.session = Self.sessionID(of: probe)
            heartbeat.sourceAddress = "198.51.100.\(20 + index)"
            heartbeat.spoolDepth = probe.name == "probe-11" ? 48 : 0
            heartbeat.activeTargets = Int64(Self.targets.count)
            return HeartbeatRow(
                heartbeat: heartbeat, receivedAtMilliseconds: received, sequence: UInt64(index + 1))
        }
        let ownership = try owner(of: "TELEMETRY_HEARTBEATS", partition: 0, store)
        var progress = PartitionProgress()
        progress.committedSequence = UInt64(rows.count)
        progress.completeThroughMilliseconds = now
        progress.counters.messages = Int64(rows.count)
        progress.counters.events = Int64(rows.count)
        progress.counters.counted = Int64(rows.count)
        _ = try store.upsertProbes(
            HeartbeatBatch(expectedSequence: 0, progress: progress, heartbeats: rows),
            by: ownership)
    }

    private static func owner(
        of stream: String, partition: Int, _ store: AggregateStore
    ) throws -> PartitionOwnership {
        let answer = try store.acquirePartition(
            stream: stream, partition: partition, owner: "aggregator-1",
            nonce: UniqueID(high: 1, low: 1), lease: lease)
        guard case .acquired(let owned) = answer else {
            throw PostgresError(.unexpectedResult, "the partition of a new database is taken")
        }
        return owned.ownership
    }

    private func owner(
        of stream: String, partition: Int, _ store: AggregateStore
    ) throws -> PartitionOwnership {
        try Self.owner(of: stream, partition: partition, store)
    }
}

extension SeededGenerator {
    /// Around 1, now and then a third more or less.
    fileprivate mutating func factor() -> Double {
        // The sum of three uniform numbers is near enough to a normal one.
        let sum = (0..<3).reduce(0.0) { total, _ in total + Double.random(in: -1...1, using: &self)
        }
        return exp(0.25 * sum)
    }
}

extension Cell {
    fileprivate mutating func insert(_ value: Double, of metric: Metric) {
        if let value = MetricValue(value, of: metric) { insert(value, of: metric) }
    }
}

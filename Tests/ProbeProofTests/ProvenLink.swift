import LinkEmulation
import ProbeCore
import Synchronization
import Telemetry
import TestKit
import Testing
import Transport

/// The probe's meters against links whose delay, loss and rate are set: one after the other, since what they
/// report is compared with what is set.
@Suite(
    .serialized,
    .enabled(if: LinkEmulation.isAvailable, Comment(rawValue: LinkEmulation.obstacle ?? "")))
struct OnAnEmulatedLink {}

/// A link with the probe at its end A and servers at its end B.
///
/// Everything runs before ordinary threads: what is compared is the probe with the link, not with a busy machine.
final class ProvenLink: Sendable {
    /// How much later than the link sets a median may be, milliseconds, for a round trip.
    static let lateness = 1.0

    private static let settlingPackets = 20

    let link: EmulatedLink
    let seed: UInt64
    private let servers = Mutex<[any Sendable]>([])

    init(_ impairment: Impairment = Impairment(), seed: UInt64 = .random(in: 0 ... .max)) throws {
        self.seed = seed
        link = try EmulatedLink(seed: seed)
        link.set(impairment)
    }

    /// Ends the servers and removes the link.
    func close() {
        servers.withLock { $0 = [] }
        link.close()
    }

    /// The end of the servers.
    var host: String { link.b.ipv4 }

    /// Measures from end A.
    func measure(
        _ target: String, timeout: Duration = .seconds(20), authorityFile: String? = nil
    ) async throws -> Measurement {
        try await link.a.run {
            LinkEmulation.makeCallingThreadPunctual()
            return try Self.measure(target, timeout, authorityFile)
        }
    }

    /// Measures `count` times from end A, one after the other.
    func measure(
        _ count: Int, times target: String, timeout: Duration = .seconds(20),
        authorityFile: String? = nil
    ) async throws -> [Measurement] {
        try await link.a.run {
            LinkEmulation.makeCallingThreadPunctual()
            return try (0..<count).map { _ in try Self.measure(target, timeout, authorityFile) }
        }
    }

    /// Waits until `target` answers: a kernel does not from the first moment on that it has an IPv6 address.
    ///
    /// - Returns: How many packets that has taken.
    func settle(_ target: String) async throws -> Int {
        for _ in 0..<Self.settlingPackets {
            let found = try await measure("\(target) count=1 wait=200ms")
            if found.failure == nil { break }
        }
        return Int(link.counters(.aToB).arrived)
    }

    /// Makes a server at end B, all of whose threads begin there, and keeps it until ``close()``.
    @discardableResult
    func serve<Server: Sendable>(
        _ make: @escaping @Sendable () throws -> Server
    ) async throws -> Server {
        let server = try await link.b.run {
            LinkEmulation.makeCallingThreadPunctual()
            return try make()
        }
        servers.withLock { $0.append(server) }
        return server
    }

    private static func measure(
        _ target: String, _ timeout: Duration, _ authorityFile: String?
    ) throws -> Measurement {
        let resolver = Resolver()
        defer { resolver.shutDown() }
        let meters = Meters(
            dialer: Dialer(
                resolver: resolver, tls: try TLSContext.client(authorityFile: authorityFile)),
            timeout: timeout, bodyBytesMax: 16 << 20, userAgent: "test")
        switch meters.measure(try Target(target)) {
        case .measured(let measurement):
            print(
                "PROOF", target,
                Metric.allCases.compactMap { m in
                    measurement.metrics[m].map { "\(m.sqlName)=\($0.inUnit)" }
                }.joined(separator: " "),
                measurement.details.filter {
                    [
                        "retransmitted_pct", "ramp_ms", "timed_by_process", "has_settled",
                        "overall_mbps", "rtt_min_ms", "late",
                    ].contains($0.name)
                }.map { "\($0.name)=\($0.value.text)" }.joined(separator: " "))
            return measurement
        case .notMeasured(let reason): throw NotMeasured(reason: reason)
        }
    }
}

struct NotMeasured: Error {
    let reason: String
}

extension Measurement {
    /// A metric in its unit; fails the test when it was not measured.
    func value(_ metric: Metric) throws -> Double {
        try #require(
            metrics[metric], "\(metric.sqlName) was not measured; \(String(describing: failure))"
        ).inUnit
    }

    private func detail(_ name: String) throws -> MeasurementDetail.Value {
        try #require(details.first { $0.name == name }, "there is no \(name)").value
    }

    /// A detail that is a number.
    func number(_ name: String) throws -> Double {
        switch try detail(name) {
        case .integer(let value): return Double(value)
        case .number(let value): return value
        case let value: throw NotMeasured(reason: "\(name) is \(value)")
        }
    }

    func text(_ name: String) throws -> String {
        guard case .text(let value) = try detail(name) else {
            throw NotMeasured(reason: "\(name) is no text")
        }
        return value
    }

    func count(_ name: String) throws -> Int {
        guard case .integer(let value) = try detail(name) else {
            throw NotMeasured(reason: "\(name) is no count")
        }
        return value
    }

    func counts(_ name: String) throws -> [Int] {
        guard case .integers(let values) = try detail(name) else {
            throw NotMeasured(reason: "\(name) are no counts")
        }
        return values
    }
}

extension [Measurement] {
    /// The median of a metric that all have.
    func median(_ metric: Metric) throws -> Double {
        try map { try $0.value(metric) }.lowerMedian
    }
}

extension [Double] {
    var mean: Double { reduce(0, +) / Double(count) }

    /// As the probe has it: the value of rank ⌈n/2⌉.
    var lowerMedian: Double {
        sorted()[(count - 1) / 2]
    }

    /// The mean absolute difference of neighbours, which is what the probe calls jitter.
    var meanStep: Double {
        zip(self, dropFirst()).map { abs($1 - $0) }.mean
    }
}

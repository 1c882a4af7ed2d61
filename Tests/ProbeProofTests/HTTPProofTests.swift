import Foundation
import LinkEmulation
import OwnedThreads
import ProbeCore
import TargetServing
import Telemetry
import TestKit
import Testing
import Transport

extension OnAnEmulatedLink {
    @Suite struct HTTPProofTests {
        /// Enough for a median.
        private static let times = 5

        /// Over TLS 1.3 (RFC 8446, section 2) one round trip, over TLS 1.2 (RFC 5246, section 7.3) two; what the two ends
        /// compute meanwhile is what the handshake takes without delay.
        @Test(arguments: [(TLSContext.Version.tls13, 1), (.tls12, 2)])
        func `each stage of https takes its round trips`(
            version: TLSContext.Version, handshakes: Int
        ) async throws {
            let delay = 40.0
            let roundTrip = 2 * delay
            try await expectFigures {
                let folder = try makeTemporaryFolder()
                defer { removeFolder(folder) }
                let proven = try ProvenLink()
                defer { proven.close() }
                let host = proven.host
                let authorityFile = "\(folder)/ca.pem"
                try await proven.serve {
                    try Self.secureServer(host: host, folder, authorityFile, version)
                }
                let url = "https://\(host):443/"
                let near = try await proven.measure(
                    Self.times, times: url, authorityFile: authorityFile)
                proven.link.set(Impairment(delay: .milliseconds(delay)))
                let far = try await proven.measure(
                    Self.times, times: url, authorityFile: authorityFile)
                #expect(try far.allSatisfy { try $0.count("tls_round_trips") == handshakes })
                let stages = [
                    (Metric.rtt, 1), (.tcp, 1), (.tls, handshakes), (.ttfb, 1),
                    (.total, handshakes + 2),
                ]
                return try stages.flatMap { metric, roundTrips in
                    let added = try far.median(metric) - near.median(metric)
                    let expected = Double(roundTrips) * roundTrip
                    let lateness = Double(roundTrips + 1) * ProvenLink.lateness
                    return [
                        Figure(
                            "what is added to \(metric.sqlName)", added,
                            near: (expected - lateness)...(expected + lateness),
                            possible: -.infinity ... .infinity),
                        Figure(
                            metric.sqlName, try far.map { try $0.value(metric) }.min() ?? 0,
                            in: expected...(.infinity)),
                    ]
                }
            }
        }

        @Test(arguments: [10.0, 40.0])
        func `connecting and the first byte take a round trip each`(delay: Double) async throws {
            let waiting = 50
            try await expectFigures {
                let proven = try ProvenLink(Impairment(delay: .milliseconds(delay)))
                defer { proven.close() }
                let url = try await Self.target(proven).server.httpURL
                let fast = try await proven.measure(Self.times, times: "\(url)/fast")
                let slow = try await proven.measure(3, times: "\(url)/slow?ms=\(waiting)")
                let connecting = try await proven.measure(
                    Self.times, times: url.replacing("http:", with: "tcp:"))
                let roundTrip = 2 * delay
                let figures = [
                    ("tcp_ms", try fast.median(.tcp), roundTrip),
                    ("rtt_ms", try fast.median(.rtt), roundTrip),
                    ("ttfb_ms", try fast.median(.ttfb), roundTrip),
                    ("total_ms", try fast.median(.total), 2 * roundTrip),
                    (
                        "ttfb_ms of a slow server", try slow.median(.ttfb),
                        roundTrip + Double(waiting)
                    ),
                    ("tcp_ms alone", try connecting.median(.tcp), roundTrip),
                    ("rtt_ms alone", try connecting.median(.rtt), roundTrip),
                ]
                return figures.map { name, found, expected in
                    Figure(name, found, from: expected, late: 2 * ProvenLink.lateness)
                }
            }
        }

        /// With time stamps (RFC 7323) it is known which SYN was answered, to the whole millisecond; without them it is
        /// not (RFC 6298, section 3).
        @Test(arguments: [true, false])
        func `the repetition of a lost SYN is in the handshake and never in the round trip`(
            hasTimestamps: Bool
        ) async throws {
            let delay = 5.0
            let proven = try ProvenLink(Impairment(delay: .milliseconds(delay), loss: .all))
            defer { proven.close() }
            try await proven.link.a.run {
                try Data((hasTimestamps ? "1" : "0").utf8).write(
                    to: URL(filePath: "/proc/sys/net/ipv4/tcp_timestamps"))
            }
            let target = try await Self.target(proven)
            let healer = OwnedThread(name: "heal") {
                _ = eventually { proven.link.counters(.aToB).lost == 1 }
                proven.link.set(Impairment(delay: .milliseconds(delay)))
            }
            defer { healer.join() }
            let found = try await proven.measure(
                target.server.httpURL.replacing("http:", with: "tcp:"))
            // The first repetition comes after a second (RFC 6298, section 2).
            #expect(try found.value(.tcp) >= 1000 + 2 * delay)
            if hasTimestamps {
                let roundTrip = try found.value(.rtt)
                #expect(roundTrip > 2 * delay - 1)
                // What is left of the handshake behind the repetition.
                #expect(try roundTrip < found.value(.tcp) - 1000 + 1)
            } else {
                #expect(found.metrics[.rtt] == nil)
            }
            #expect(found.failure == nil)
        }

        @Test func `a body is never faster than the link`() async throws {
            let rate: UInt64 = 20_000_000
            try await expectFigures {
                let proven = try ProvenLink(Impairment(delay: .milliseconds(5), rate: rate))
                defer { proven.close() }
                let target = try await Self.target(proven)
                let bytes = 1_000_000.0
                let found = try await proven.measure("\(target.server.httpURL)/bytes/1000000")
                let most = Double(rate) / 1e6 * TransferProofTests.payloadShare
                return [
                    // Slow start costs a few round trips at the beginning.
                    Figure(
                        "throughput_mbps", try found.value(.throughput),
                        near: (most * 0.8)...(most * 1.02), possible: 0...(most * 1.5)),
                    Figure(
                        "total_ms", try found.value(.total),
                        in: (bytes * 8 / most / 1000)...(.infinity)),
                ]
            }
        }

        static func target(_ proven: ProvenLink) async throws -> LinkedTarget {
            let host = proven.host
            return try await proven.serve { try LinkedTarget(host: host) }
        }

        private static func secureServer(
            host: String, _ folder: String, _ authorityFile: String, _ version: TLSContext.Version
        ) throws -> StreamServer {
            let authority = try LocalAuthority()
            try authority.writeCertificate(to: authorityFile)
            let (certificateFile, keyFile) = ("\(folder)/server.pem", "\(folder)/server.key")
            try authority.issue(for: [host], certificateFile: certificateFile, keyFile: keyFile)
            let tls = try TLSContext.server(
                certificateFile: certificateFile, keyFile: keyFile, versionMax: version,
                applicationProtocol: .http1)
            return try StreamServer(host: host, port: 443) { connection, patience in
                try connection.acceptTLS(tls, patience)
                var piece = [UInt8](repeating: 0, count: 4096)
                // A request is written at once.
                _ = try connection.read(into: &piece, patience)
                let answer = Array("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n".utf8)
                try connection.write(answer.span, patience)
            }
        }
    }
}

/// A target server and the folder of its certificates.
final class LinkedTarget: Sendable {
    let server: TargetServer
    private let folder: String

    init(host: String) throws {
        folder = try makeTemporaryFolder()
        server = try TargetServer(folder: folder, host: host)
    }

    deinit {
        server.stop()
        removeFolder(folder)
    }
}

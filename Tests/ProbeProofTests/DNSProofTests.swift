import ProbeCore
import Telemetry
import Testing
import Transport

@testable import LinkEmulation

extension OnAnEmulatedLink {
    @Suite struct DNSProofTests {
        /// Enough for a median.
        private static let times = 7

        /// How many round trips a question takes: over UDP one, over TCP a handshake more, and all of them when the
        /// answer over UDP is cut short.
        @Test(arguments: [("udp", false, 1), ("tcp", false, 2), ("udp", true, 3)])
        func `a question takes the round trips of its carrier`(
            carrier: String, isTruncated: Bool, roundTrips: Int
        ) async throws {
            let delay = 20
            try await expectFigures {
                let proven = try ProvenLink(Impairment(delay: .milliseconds(delay)))
                defer { proven.close() }
                try await Self.serve(proven, truncates: isTruncated)
                let found = try await proven.measure(
                    Self.times, times: "dns://\(proven.host)/example.test carrier=\(carrier)")
                return [
                    Figure(
                        "dns_ms", try found.median(.dns), from: Double(roundTrips * 2 * delay),
                        late: ProvenLink.lateness * Double(roundTrips))
                ]
            }
        }

        @Test func `a question or an answer that is lost is an error, and never a time`()
            async throws
        {
            let loss = Loss.independent(0.15)
            let proven = try ProvenLink(Impairment(delay: .milliseconds(5), loss: loss))
            defer { proven.close() }
            try await Self.serve(proven)
            let found = try await proven.measure(
                30, times: "dns://\(proven.host)/example.test", timeout: .milliseconds(100))
            var out = RandomProcesses(seed: proven.seed).loss
            var back = RandomProcesses(seed: ~proven.seed).loss
            for (number, measurement) in found.enumerated() {
                let isLost = out.losesNext(loss) || back.losesNext(loss)
                #expect(
                    (measurement.failure?.stage == .dns) == isLost,
                    "question \(number), seed \(proven.seed)")
                #expect((measurement.metrics[.dns] == nil) == isLost)
            }
            let lost = proven.link.counters(.aToB).lost + proven.link.counters(.bToA).lost
            #expect(found.count { $0.failure != nil } == Int(lost))
        }

        /// Serves a resolver that knows no records.
        private static func serve(_ proven: ProvenLink, truncates: Bool = false) async throws {
            let host = proven.host
            try await proven.serve {
                try DatagramServer(host: host, port: 53) {
                    answer(to: $0, isTruncated: truncates)
                }
            }
            try await proven.serve {
                try StreamServer(host: host, port: 53) { connection, patience in
                    var piece = [UInt8](repeating: 0, count: 4096)
                    // A question is written at once, behind its length.
                    let count = try connection.read(into: &piece, patience)
                    let message = answer(to: Array(piece[2..<count]), isTruncated: false)
                    let framed = [0, UInt8(message.count)] + message
                    try connection.write(framed.span, patience)
                }
            }
        }

        /// The question with the bits of an answer (RFC 1035, section 4.1.1), without its OPT record.
        private static func answer(to question: [UInt8], isTruncated: Bool) -> [UInt8] {
            var bytes = Array(question.dropLast(11))
            bytes[2] = isTruncated ? 0x83 : 0x81
            bytes[3] = 0x80
            bytes[11] = 0
            return bytes
        }
    }
}

import Glibc
import ProbeCore
import Telemetry
import TestKit
import Testing

@testable import LinkEmulation

extension OnAnEmulatedLink {
    @Suite struct EchoProofTests {
        private static let port: UInt16 = 7
        private static let lateness = ProvenLink.lateness

        enum Carrier: CaseIterable {
            case icmp, icmpv6, udp
        }

        @Test(arguments: [0, 10, 40], Carrier.allCases)
        func `the round trip is the delay of both directions`(
            delay: Int, carrier: Carrier
        ) async throws {
            try await expectFigures {
                let proven = try ProvenLink(Impairment(delay: .milliseconds(delay)))
                defer { proven.close() }
                let host = proven.host
                try await proven.serve { try DatagramServer(host: host, port: Self.port) }
                let address = address(proven, carrier)
                let earlier = try await proven.settle(address)
                let found = try await proven.measure("\(address) count=40 gap=6ms")
                #expect(try found.value(.loss) == 0)
                #expect(try counted(found, proven, after: earlier) == .init(sent: 40))
                let roundTrip = Double(2 * delay)
                return [
                    Figure("rtt_ms", try found.value(.rtt), from: roundTrip, late: Self.lateness),
                    Figure(
                        "rtt_min_ms", try found.number("rtt_min_ms"), from: roundTrip,
                        late: Self.lateness),
                    Figure("jitter_ms", try found.value(.jitter), from: 0, late: Self.lateness),
                ]
            }
        }

        @Test func `a slow link adds the time that packets take to be sent`() async throws {
            let bitsPerSecond: UInt64 = 5_000_000
            try await expectFigures {
                let proven = try ProvenLink(
                    Impairment(delay: .milliseconds(10), rate: bitsPerSecond))
                defer { proven.close() }
                let found = try await proven.measure(
                    "icmp://\(proven.host) count=40 spacing=periodic gap=10ms size=1400")
                // Behind the headers of IPv4 and ICMP.
                let packetBits = Double(1400 + 28) * 8
                let expected = 2 * (10 + packetBits / Double(bitsPerSecond) * 1000)
                return [
                    Figure("rtt_ms", try found.value(.rtt), from: expected, late: Self.lateness)
                ]
            }
        }

        @Test(arguments: [
            (Loss.independent(0.01), Carrier.icmp), (.independent(0.1), .icmp),
            (.independent(0.1), .udp),
            (.bursts(GilbertElliott(meanLoss: 0.1, meanLength: 4)), .icmp),
        ])
        func `loss and its runs are those of the link`(loss: Loss, carrier: Carrier) async throws {
            let proven = try ProvenLink(Impairment(delay: .milliseconds(5), loss: loss))
            defer { proven.close() }
            let host = proven.host
            try await proven.serve { try DatagramServer(host: host, port: Self.port) }
            let count = 1000
            let found = try await proven.measure(
                "\(address(proven, carrier)) count=\(count) gap=1ms wait=300ms")
            let lost = lostPackets(of: count, loss, seed: proven.seed)
            let seen = try counted(found, proven)
            #expect(seen == .init(sent: count, lost: lost.count), "seed \(proven.seed)")
            #expect(try found.counts("loss_runs") == runs(of: lost), "seed \(proven.seed)")
            let percent = try found.value(.loss)
            #expect(percent == 100 * Double(lost.count) / Double(count))
            if case .independent(let probability) = loss {
                let both = 1 - (1 - probability) * (1 - probability)
                let error = (both * (1 - both) / Double(count)).squareRoot()
                #expect(abs(percent / 100 - both) < 5 * error)
            }
        }

        @Test func `a link that loses everything is unreachable, and has no round trip`()
            async throws
        {
            let proven = try ProvenLink(Impairment(loss: .all))
            defer { proven.close() }
            let found = try await proven.measure(
                "icmp://\(proven.host) count=20 gap=2ms wait=100ms")
            #expect(found.failure?.stage == .tcp)
            #expect(try found.value(.loss) == 100)
            #expect(found.metrics[.rtt] == nil && found.metrics[.jitter] == nil)
            #expect(try found.counts("loss_runs") == [20])
            #expect(proven.link.counters(.aToB).lost == 20)
        }

        @Test func `answers that come after the wait are lost, and have no round trip`()
            async throws
        {
            let proven = try ProvenLink(Impairment(delay: .milliseconds(40)))
            defer { proven.close() }
            let found = try await proven.measure(
                "icmp://\(proven.host) count=50 spacing=periodic gap=2ms wait=60ms")
            #expect(try found.value(.loss) == 100)
            #expect(found.metrics[.rtt] == nil)
            // The train ends 60 ms after its last packet; what comes then is not seen.
            #expect((30..<50).contains(try found.count("late")))
        }

        @Test(arguments: [Carrier.icmp, .udp])
        func `copies made on both ways are counted, and are neither loss nor answers`(
            carrier: Carrier
        ) async throws {
            let proven = try ProvenLink(Impairment(delay: .milliseconds(5), duplication: 0.1))
            defer { proven.close() }
            let host = proven.host
            try await proven.serve { try DatagramServer(host: host, port: Self.port) }
            let found = try await proven.measure("\(address(proven, carrier)) count=500 gap=1ms")
            let copies =
                proven.link.counters(.aToB).duplicated + proven.link.counters(.bToA).duplicated
            #expect(copies > 40)
            #expect(
                try counted(found, proven) == .init(sent: 500, duplicates: Int(copies)),
                "seed \(proven.seed)")
        }

        @Test(arguments: EmulatedLink.Direction.allCases)
        func `answers out of order are counted as the link counts them`(
            direction: EmulatedLink.Direction
        ) async throws {
            let delay = Duration.milliseconds(5)
            let proven = try ProvenLink(Impairment(delay: delay))
            defer { proven.close() }
            proven.link.set(
                Impairment(
                    delay: delay,
                    reordering: .init(probability: 0.1, extraDelay: .milliseconds(15))),
                direction)
            let found = try await proven.measure("icmp://\(proven.host) count=500 gap=1ms")
            let reordered = proven.link.counters(direction).reordered
            #expect(reordered > 20)
            #expect(
                try counted(found, proven) == .init(sent: 500, reordered: Int(reordered)),
                "seed \(proven.seed)")
        }

        @Test func `loss, copies, jitter and disorder together leave no answer uncounted`()
            async throws
        {
            let proven = try ProvenLink(
                Impairment(
                    delay: .milliseconds(10), jitter: .uniform(.milliseconds(5)),
                    loss: .independent(0.05), duplication: 0.05,
                    reordering: .init(probability: 0.05, extraDelay: .milliseconds(10))))
            defer { proven.close() }
            let found = try await proven.measure(
                "icmp://\(proven.host) count=500 gap=1ms wait=300ms")
            let answers = try ["received", "late", "duplicates"].map { try found.count($0) }
            #expect(
                answers.reduce(0, +) == Int(proven.link.counters(.bToA).delivered),
                "seed \(proven.seed)")
            #expect(try found.count("foreign_packets") == 0)
            #expect(proven.link.counters(.aToB).arrived == 500)
        }

        /// Of independent values that are uniform within ±w, neighbours differ by 2/3 w on average when one direction
        /// varies, and by 14/15 w when both do (the mean absolute value of the sum of two, or four, such values).
        @Test(arguments: [(EmulatedLink.Direction.allCases, 14.0 / 15), ([.bToA], 2.0 / 3)])
        func `jitter is the mean difference of neighbours that the link sets`(
            directions: [EmulatedLink.Direction], share: Double
        ) async throws {
            let (delay, width, count) = (10.0, 6.0, 150)
            try await expectFigures {
                let proven = try ProvenLink()
                defer { proven.close() }
                for direction in EmulatedLink.Direction.allCases {
                    let varies = directions.contains(direction)
                    proven.link.set(
                        Impairment(
                            delay: .milliseconds(delay),
                            jitter: varies ? .uniform(.milliseconds(width)) : .none),
                        direction)
                }
                // Further apart than the jitter is wide, so that each packet has the whole of it.
                let found = try await proven.measure(
                    "icmp://\(proven.host) count=\(count) spacing=periodic gap=13ms")
                #expect(try found.count("reordered") == 0)
                var set = [Double](repeating: 2 * delay, count: count)
                for direction in directions {
                    var random = RandomProcesses(seed: proven.seed(of: direction))
                    for index in set.indices {
                        let deviation = random.jitter.deviation(.uniform(.milliseconds(width)))
                        set[index] += deviation / .milliseconds(1)
                    }
                }
                let jitter = try found.value(.jitter)
                let exact = set.meanStep
                // One step deviates by about its mean, and neighbouring steps share a value.
                let error = 5 * width / Double(count).squareRoot()
                return [
                    Figure(
                        "jitter_ms", jitter, near: (exact - 0.5)...(exact + 0.5),
                        possible: 0...(.infinity)),
                    Figure(
                        "jitter_ms of any seed", jitter,
                        near: (share * width - error)...(share * width + error),
                        possible: 0...(.infinity)),
                    Figure(
                        "rtt_ms", try found.value(.rtt), from: set.lowerMedian,
                        late: Self.lateness),
                ]
            }
        }

        /// What a train and the link's counters say alike.
        struct Counted: Equatable {
            var sent: Int
            var lost = 0
            var duplicates = 0
            var reordered = 0
        }

        /// What a train found, after a check that the link says the same of what it carried.
        ///
        /// - Parameter earlier: Packets that the link had carried to the host before.
        private func counted(
            _ found: Measurement, _ proven: ProvenLink, after earlier: Int = 0
        ) throws -> Counted {
            let (out, back) = (proven.link.counters(.aToB), proven.link.counters(.bToA))
            let counted = Counted(
                sent: try found.count("sent"),
                lost: try found.count("sent") - found.count("received"),
                duplicates: try found.count("duplicates"),
                reordered: try found.count("reordered"))
            // A machine that stood still is no finding about the probe.
            #expect(out.missed == 0 && back.missed == 0)
            #expect(Int(out.arrived) - earlier == counted.sent)
            if out.duplicated + back.duplicated == 0 {
                #expect(Int(out.lost + back.lost) == counted.lost)
            }
            #expect(try found.count("late") == 0 && found.count("foreign_packets") == 0)
            return counted
        }

        private func address(_ proven: ProvenLink, _ carrier: Carrier) -> String {
            switch carrier {
            case .icmp: "icmp://\(proven.link.b.ipv4)"
            case .icmpv6: "icmp://[\(proven.link.b.ipv6)]"
            case .udp: "udp://\(proven.link.b.ipv4):\(Self.port)"
            }
        }

        /// The packets of a train whose request or answer the link loses.
        private func lostPackets(of count: Int, _ loss: Loss, seed: UInt64) -> [Int] {
            var out = RandomProcesses(seed: seed).loss
            var back = RandomProcesses(seed: ~seed).loss
            return (0..<count).filter { _ in out.losesNext(loss) || back.losesNext(loss) }
        }

        private func runs(of lost: [Int]) -> [Int] {
            var runs: [Int] = []
            var before: Int?
            for number in lost {
                if let before, before + 1 == number {
                    runs[runs.count - 1] += 1
                } else {
                    runs.append(1)
                }
                before = number
            }
            return runs
        }
    }
}

extension ProvenLink {
    /// The seed of one direction's processes.
    func seed(of direction: EmulatedLink.Direction) -> UInt64 {
        direction == .aToB ? seed : ~seed
    }
}

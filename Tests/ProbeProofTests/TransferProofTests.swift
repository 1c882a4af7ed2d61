import LinkEmulation
import ProbeCore
import TargetServing
import Telemetry
import Testing

extension OnAnEmulatedLink {
    @Suite struct TransferProofTests {
        /// IPv4, TCP and its time stamps take 52 of 1500 bytes.
        static let payloadShare = 1448.0 / 1500
        /// So many that together they fill a queue again soon after a loss; four take longer than the test. With the four
        /// threads that measure round trips they are all that the target serves at once.
        private static let fillingConnections = TargetServer.connectionsMax - 4

        @Test(arguments: ["download", "upload"], [5, 20, 100])
        func `the rate is the link's, less the headers`(
            direction: String, megabits: Int
        ) async throws {
            try await expectFigures {
                let rate = UInt64(megabits) * 1_000_000
                // 50 ms, which is several times what the path holds.
                let queue = Impairment.Queue(packets: 10_000, bytes: Int(rate) / 8 / 20)
                let proven = try ProvenLink(
                    Impairment(delay: .milliseconds(5), rate: rate, queue: queue))
                defer { proven.close() }
                let target = try await HTTPProofTests.target(proven)
                let found = try await proven.measure(
                    "\(direction)+\(target.server.httpURL)/bytes/1000000000 max-time=1200ms")
                let minimum = try found.number("rtt_min_ms")
                return [
                    Figure(
                        "throughput_mbps", try found.value(.throughput), near: bounds(megabits),
                        possible: caughtUp(megabits)),
                    Figure("rtt_min_ms", minimum, from: 10, late: ProvenLink.lateness),
                ]
            }
        }

        /// On a path that holds half a megabyte a transfer takes a while to reach the rate, and falls below it again when it
        /// overfills the queue: the link itself tells what passed after the ramp. What lies behind a gap when the time is over
        /// has passed the link and is not told, as no program could have read it.
        @Test
        func
            `the rate of a long path is what passed after the ramp, less what has a gap before it`()
            async throws
        {
            let (megabits, delay) = (50, 40.0)
            try await expectFigures {
                let rate = UInt64(megabits) * 1_000_000
                let queue = Impairment.Queue(packets: 10_000, bytes: Int(rate) / 8 / 12)
                let proven = try ProvenLink(
                    Impairment(delay: .milliseconds(delay), rate: rate, queue: queue))
                defer { proven.close() }
                let target = try await HTTPProofTests.target(proven)
                let watch = LinkWatch(proven.link, .bToA)
                let found = try await proven.measure(
                    "download+\(target.server.httpURL)/bytes/1000000000 max-time=3s")
                let ended = ContinuousClock.now
                let notes = watch.stop()
                let (ramp, whole) = (
                    try found.number("ramp_ms"), try found.number("duration_ms")
                )
                let seen = try found.value(.throughput)
                let steady = notes.filter {
                    $0.moment <= ended && $0.moment >= ended - .milliseconds(whole - ramp)
                }
                let passed = rateOfPayload(steady)
                return [
                    Figure(
                        "throughput_mbps", seen, near: (passed * 0.85)...(passed * 1.01),
                        possible: caughtUp(megabits)),
                    // Several round trips.
                    Figure(
                        "ramp_ms", ramp, near: (4 * delay)...(whole / 2 + 200), possible: 0...whole),
                    Figure(
                        "overall_mbps", try found.number("overall_mbps"), near: 0...seen,
                        possible: 0...bounds(megabits).upperBound),
                ]
            }
        }

        @Test func `what an upload sends again is what the link has lost`() async throws {
            try await expectFigures {
                let proven = try ProvenLink()
                defer { proven.close() }
                let delay = Duration.milliseconds(5)
                proven.link.set(
                    Impairment(delay: delay, loss: .independent(0.02), rate: 20_000_000), .aToB)
                proven.link.set(Impairment(delay: delay), .bToA)
                let target = try await HTTPProofTests.target(proven)
                let found = try await proven.measure(
                    "upload+\(target.server.httpURL)/ max-time=1500ms")
                let counters = proven.link.counters(.aToB)
                let lost = 100 * Double(counters.lost) / Double(counters.arrived)
                return [
                    // A repetition too many now and then is TCP's, not the probe's.
                    Figure(
                        "retransmitted_pct", try found.number("retransmitted_pct"),
                        near: (0.8 * lost)...(1.5 * lost), possible: 0...100),
                    Figure(
                        "throughput_mbps", try found.value(.throughput),
                        near: 0...bounds(20).upperBound, possible: caughtUp(20)),
                    Figure(
                        "bytes", try found.number("bytes"), in: 0...Double(counters.deliveredBytes)),
                ]
            }
        }

        @Test func `an upload into deep buffers tells what has arrived, not what was written`()
            async throws
        {
            let megabits = 5
            try await expectFigures {
                let rate = UInt64(megabits) * 1_000_000
                // Two seconds of it: all that is sent meanwhile fits in, and nothing is lost.
                let queue = Impairment.Queue(packets: 10_000, bytes: Int(rate) / 8 * 2)
                let proven = try ProvenLink(
                    Impairment(delay: .milliseconds(5), rate: rate, queue: queue))
                defer { proven.close() }
                let target = try await HTTPProofTests.target(proven)
                let found = try await proven.measure(
                    "upload+\(target.server.httpURL)/ max-time=1500ms")
                #expect(proven.link.counters(.aToB).droppedByQueue == 0)
                return [
                    Figure(
                        "throughput_mbps", try found.value(.throughput), near: bounds(megabits),
                        possible: caughtUp(megabits)),
                    Figure(
                        "overall_mbps", try found.number("overall_mbps"),
                        in: 0...bounds(megabits).upperBound),
                ]
            }
        }

        /// A queue that holds 200 ms: what a round trip finds in it is what the link has in it.
        @Test(arguments: ["download", "upload"])
        func `a round trip under load has the queue in it`(direction: String) async throws {
            let rate: UInt64 = 10_000_000
            let (roundTrip, queued) = (20.0, 200.0)
            let loaded: EmulatedLink.Direction = direction == "download" ? .bToA : .aToB
            let other: EmulatedLink.Direction = direction == "download" ? .aToB : .bToA
            let queue = Impairment.Queue(
                packets: 10_000, bytes: Int(Double(rate) / 8000 * queued))
            try await expectFigures {
                let proven = try ProvenLink()
                defer { proven.close() }
                // All of the delay is on the other way: what is inside the loaded one is its queue.
                proven.link.set(Impairment(delay: .milliseconds(roundTrip)), other)
                proven.link.set(Impairment(rate: rate, queue: queue), loaded)
                let target = try await HTTPProofTests.target(proven)
                let watch = LinkWatch(proven.link, loaded)
                let found = try await proven.measure(
                    "loaded+\(target.server.httpURL)/bytes/1000000000 direction=\(direction)"
                        + " small=/fast max-time=2500ms connections=\(Self.fillingConnections)")
                let inside = watch.stop().map { Double($0.counters.inside) }.filter { $0 > 0 }
                // From behind the ramp until the load's end, after which the queue runs empty.
                let middle = Array(inside[(inside.count / 4)..<(inside.count * 3 / 4)])
                let seen = middle.lowerMedian * 1500 * 8 / Double(rate) * 1000
                let increase = try found.value(.loadedRTT) - found.value(.rtt)
                return [
                    Figure(
                        "rtt_ms", try found.value(.rtt), from: roundTrip, late: ProvenLink.lateness),
                    Figure(
                        "what the load adds", increase, near: (seen * 0.85)...(seen * 1.15),
                        possible: 0...(.infinity)),
                    Figure(
                        "what the load adds", increase, near: (queued * 0.75)...(queued * 1.05),
                        possible: 0...(.infinity)),
                    Figure(
                        "rtt_increase_ms", try found.number("rtt_increase_ms"),
                        in: (increase - 0.001)...(increase + 0.001)),
                ]
            }
        }

        /// The rate that bodies can have on a link, and how far from it they may be; a little more than all of it is a queue
        /// that was filled during the ramp.
        private func bounds(_ megabits: Int) -> ClosedRange<Double> {
            let most = Double(megabits) * Self.payloadShare
            return most * 0.95...most * 1.01
        }

        /// A link that stood still for a while with its machine has carried what came meanwhile at once: more than its rate,
        /// but never as much as was written into a deep buffer.
        private func caughtUp(_ megabits: Int) -> ClosedRange<Double> {
            0...(Double(megabits) * 1.5)
        }

        /// The payload that has passed between the first note and the last, Mbit/s.
        private func rateOfPayload(_ notes: [LinkWatch.Note]) -> Double {
            guard let first = notes.first, let last = notes.last, first.moment < last.moment else {
                return 0
            }
            let bytes = last.counters.deliveredBytes - first.counters.deliveredBytes
            let seconds = first.moment.duration(to: last.moment) / .seconds(1)
            return Double(bytes) * 8 * Self.payloadShare / seconds / 1e6
        }
    }
}

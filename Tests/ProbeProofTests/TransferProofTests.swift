import Glibc
import LinkEmulation
import OwnedThreads
import ProbeCore
import TargetServing
import Synchronization
import Telemetry
import TestKit
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
            let rate = UInt64(megabits) * 1_000_000
            // 50 ms, which is several times what the path holds.
            let queue = Impairment.Queue(packets: 10_000, bytes: Int(rate) / 8 / 20)
            let proven = try ProvenLink(
                Impairment(delay: .milliseconds(5), rate: rate, queue: queue))
            defer { proven.close() }
            let target = try await HTTPProofTests.target(proven)
            let found = try await proven.measure(
                "\(direction)+\(target.server.httpURL)/bytes/1000000000 max-time=1500ms")
            let most = Double(megabits) * Self.payloadShare
            let seen = try found.value(.throughput)
            #expect(abs(seen / most - 1) < 0.05, "\(seen) Mbit/s")
            #expect(seen < most * 1.01, "\(seen) Mbit/s")
            expectNoMissedPackets(proven)
        }

        @Test func `an upload into deep buffers tells what has arrived, not what was written`()
            async throws
        {
            let megabits = 5
            let rate = UInt64(megabits) * 1_000_000
            // Two seconds of it: all that is sent meanwhile fits in, and nothing is lost.
            let proven = try ProvenLink(
                Impairment(
                    delay: .milliseconds(5), rate: rate,
                    queue: .init(packets: 10_000, bytes: Int(rate) / 8 * 2)))
            defer { proven.close() }
            let target = try await HTTPProofTests.target(proven)
            let found = try await proven.measure("upload+\(target.server.httpURL)/ max-time=2s")
            let most = Double(megabits) * Self.payloadShare
            let seen = try found.value(.throughput)
            #expect(abs(seen / most - 1) < 0.05, "\(seen) Mbit/s")
            #expect(seen < most * 1.01, "\(seen) Mbit/s")
            let bytes = try found.number("bytes")
            #expect(bytes * 8 / (try found.number("duration_ms")) / 1000 < most * 1.01)
            expectNoMissedPackets(proven)
        }

        /// A queue that holds 200 ms: what a round trip finds in it is what the link has in it.
        @Test(arguments: ["download", "upload"])
        func `a round trip under load has the queue in it`(direction: String) async throws {
            let rate: UInt64 = 10_000_000
            let (delay, queueMilliseconds) = (10.0, 200.0)
            let loaded: EmulatedLink.Direction = direction == "download" ? .bToA : .aToB
            let other: EmulatedLink.Direction = direction == "download" ? .aToB : .bToA
            let proven = try ProvenLink()
            defer { proven.close() }
            // All of the delay is on the other way: what is inside the loaded one is its queue.
            proven.link.set(Impairment(delay: .milliseconds(2 * delay)), other)
            proven.link.set(
                Impairment(
                    rate: rate,
                    queue: .init(
                        packets: 10_000, bytes: Int(Double(rate) / 8000 * queueMilliseconds))),
                loaded)
            let target = try await HTTPProofTests.target(proven)
            let watch = QueueWatch(proven.link, loaded)
            let found = try await proven.measure(
                "loaded+\(target.server.httpURL)/bytes/1000000000 direction=\(direction)"
                    + " small=/fast max-time=3s connections=\(Self.fillingConnections)")
            let inside = watch.stop()
            let idle = try found.value(.rtt)
            #expect(abs(idle - 2 * delay) < ProvenLink.tolerance)
            // From behind the ramp until the load's end, after which the queue runs empty.
            let packets = Array(inside[(inside.count / 4)..<(inside.count * 3 / 4)]).median
            let queued = packets * 1500 * 8 / Double(rate) * 1000
            let increase = try found.value(.loadedRTT) - idle
            #expect(abs(increase - queued) < 0.15 * queued, "\(increase) ms, in it \(queued) ms")
            #expect(increase > queueMilliseconds * 0.75)
            #expect(increase < queueMilliseconds * 1.05)
            #expect(abs(try found.number("rtt_increase_ms") - increase) < 0.001)
        }

        private func expectNoMissedPackets(_ proven: ProvenLink) {
            for direction in EmulatedLink.Direction.allCases {
                #expect(proven.link.counters(direction).missed == 0)
            }
        }
    }
}

/// Notes how many packets are inside a link, every few milliseconds while there are any.
final class QueueWatch: Sendable {
    private static let everyMicroseconds: UInt32 = 5_000

    private let isStopping = Atomic(false)
    private let seen = Monitor<[Double]>([])
    private let thread = Mutex<OwnedThread?>(nil)

    init(_ link: EmulatedLink, _ direction: EmulatedLink.Direction) {
        let watcher = OwnedThread(name: "watch the queue") { [self] in
            LinkEmulation.makeCallingThreadPunctual()
            while !isStopping.load(ordering: .acquiring) {
                let inside = link.counters(direction).inside
                if inside > 0 { seen.withLock { $0.append(Double(inside)) } }
                usleep(Self.everyMicroseconds)
            }
        }
        thread.withLock { $0 = watcher }
    }

    /// Ends watching; gives what was seen.
    func stop() -> [Double] {
        isStopping.store(true, ordering: .releasing)
        thread.withLock { $0 }?.join()
        return seen.withLock { $0 }
    }
}

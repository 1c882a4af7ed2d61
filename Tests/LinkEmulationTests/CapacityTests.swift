import Glibc
import OwnedThreads
import TestKit
import Testing

@testable import LinkEmulation

extension OnRealNamespaces {
    @Suite struct CapacityTests {
        /// IPv4 and UDP headers.
        private let headerBytes = 28

        @Test(arguments: [2_000_000, 20_000_000] as [UInt64])
        func `datagrams arrive at the rate and the rest is dropped by the queue`(
            rate: UInt64
        ) async throws {
            let link = try EmulatedLink(seed: 1)
            defer { link.close() }
            let payload = 972
            let packetBytes = payload + headerBytes
            // The queue holds two seconds' worth, and twice as much is sent at once: the sender's own pace does not matter.
            let places = Int(rate) * 2 / (packetBytes * 8)
            let packets = places * 2
            link.set(Impairment(rate: rate, queue: .init(packets: places)), .aToB)
            let host = link.b.ipv4
            let receiver = try await link.b.run {
                let socket = try IPSocket(datagramsOf: AF_INET)
                try socket.bind(host, 9)
                return socket
            }
            let arrivals = Monitor<[ContinuousClock.Instant]>([])
            let isComplete = Monitor(false)
            let watcher = try link.b.namespace.startThread(named: "watch arrivals") {
                LinkEmulation.makeCallingThreadPunctual()
                var last = receiver.receive()
                while let bytes = last, bytes[0] == 0 {
                    arrivals.update { $0.append(.now) }
                    last = receiver.receive()
                }
                isComplete.update { [last] in $0 = last == [1] }
            }
            try await link.a.run {
                let sender = try IPSocket(datagramsOf: AF_INET)
                try sender.connect(host, 9)
                let bytes = [UInt8](repeating: 0, count: payload)
                for _ in 0..<packets { try sender.send(bytes) }
                // There is room for this one when all others have been handed on.
                let isDone = eventually {
                    let counters = link.counters(.aToB)
                    return counters.arrived == packets && counters.inside == 0
                }
                guard isDone else { throw SocketFailure("the link did not hand on all packets") }
                try sender.send([1])
            }
            watcher.join()
            #expect(isComplete.withLock { $0 }, "the last datagram has not come")
            let moments = arrivals.withLock { $0 }
            let first = try #require(moments.first)
            let last = try #require(moments.last)
            let bits = Double((moments.count - 1) * packetBytes * 8)
            let seen = bits / (first.duration(to: last) / .seconds(1))
            #expect(abs(seen / Double(rate) - 1) < 0.05, "\(seen) bit/s")
            let counters = link.counters(.aToB)
            #expect(counters.arrived == UInt64(packets + 1))
            #expect(counters.droppedByQueue > 0)
            #expect(Int(counters.droppedByQueue) == packets - moments.count)
            #expect(counters.missed == 0)
        }

        @Test func `a burst that exceeds the queue loses what does not fit`() async throws {
            let link = try EmulatedLink(seed: 1)
            defer { link.close() }
            // A packet takes many minutes: none leaves by itself.
            link.set(Impairment(rate: 8, queue: .init(packets: 20)), .aToB)
            let host = link.b.ipv4
            try await link.a.run {
                let sender = try IPSocket(datagramsOf: AF_INET)
                try sender.connect(host, 9)
                for _ in 0..<50 { try sender.send([UInt8](repeating: 0, count: 1200)) }
            }
            #expect(eventually { link.counters(.aToB).arrived == 50 })
            #expect(link.counters(.aToB).droppedByQueue == 30)
            #expect(link.counters(.aToB).inside == 20)
            // What is already in the queue leaves it when the rate is lifted.
            link.set(Impairment(), .aToB)
            #expect(eventually { link.counters(.aToB).inside == 0 })
            #expect(link.counters(.aToB).delivered == 20)
        }

        @Test func `TCP gets the rate, less its headers`() async throws {
            let rate: UInt64 = 20_000_000
            let link = try EmulatedLink(seed: 1)
            defer { link.close() }
            link.set(Impairment(delay: .milliseconds(2), rate: rate, queue: .init(packets: 100)))
            let host = link.b.ipv4
            let listener = try await link.b.run {
                let socket = try IPSocket(descriptor: socket(AF_INET, streamType, 0))
                try socket.bind(host, 80)
                guard listen(socket.descriptor, 1) == 0 else { throw SocketFailure("listen") }
                return socket
            }
            let goodput = Monitor(0.0)
            let server = try link.b.namespace.startThread(named: "receive") {
                LinkEmulation.makeCallingThreadPunctual()
                guard let socket = try? IPSocket(descriptor: accept(listener.descriptor, nil, nil))
                else { return }
                var bytes = [UInt8](repeating: 0, count: 1 << 16)
                var total = 0
                var start = ContinuousClock.now
                while true {
                    let count = recv(socket.descriptor, &bytes, bytes.count, 0)
                    guard count > 0 else { break }
                    // Timed from the first bytes on, which do not count.
                    if total == 0 { start = .now } else { total += count }
                    if total == 0 { total = 1 }
                }
                let seconds = start.duration(to: .now) / .seconds(1)
                goodput.update { [total] in $0 = Double(total * 8) / seconds }
            }
            try await link.a.run {
                LinkEmulation.makeCallingThreadPunctual()
                let socket = try IPSocket(descriptor: socket(AF_INET, streamType, 0))
                try socket.connect(host, 80)
                for _ in 0..<200 { try socket.send([UInt8](repeating: 0, count: 50_000)) }
            }
            server.join()
            // IPv4, TCP and its timestamps take 52 of 1500 bytes.
            let expected = Double(rate) * 1448 / 1500
            let seen = goodput.withLock { $0 }
            #expect(abs(seen / expected - 1) < 0.05, "\(seen) bit/s")
        }

        private var streamType: Int32 { Int32(SOCK_STREAM.rawValue) }
    }
}

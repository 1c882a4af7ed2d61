import Glibc
import TestKit
import Testing

@testable import LinkEmulation

/// All that needs real namespaces, one after the other, since they compare what they see with set times.
@Suite(
    .serialized,
    .enabled(if: LinkEmulation.isAvailable, Comment(rawValue: LinkEmulation.obstacle ?? "")))
struct OnRealNamespaces {}

extension OnRealNamespaces {
    @Suite struct EmulatedLinkTests {
        /// How much later than set the median may be, for both directions together.
        private let tolerance = Duration.milliseconds(1)

        @Test(arguments: [AF_INET, AF_INET6])
        func `an echo takes the delays of both directions, and little more`(
            family: Int32
        ) async throws {
            let link = try EmulatedLink(seed: 1)
            defer { link.close() }
            let host = family == AF_INET ? link.b.ipv4 : link.b.ipv6
            let echo = try EchoServer(at: link.b, host: host)
            defer { echo.stop() }
            link.set(Impairment(delay: .milliseconds(5)), .aToB)
            link.set(Impairment(delay: .milliseconds(12)), .bToA)
            let times = try await link.a.run { try roundTrips(60, to: host) }
            #expect(times.allSatisfy { $0 >= .milliseconds(17) })
            #expect(median(times) < .milliseconds(17) + tolerance)
        }

        @Test func `the delay can be changed while packets flow`() async throws {
            let link = try EmulatedLink(seed: 1)
            defer { link.close() }
            let host = link.b.ipv4
            let echo = try EchoServer(at: link.b, host: host)
            defer { echo.stop() }
            for delay in [Duration.zero, .milliseconds(10), .milliseconds(2), .zero] {
                link.set(Impairment(delay: delay))
                let times = try await link.a.run { try roundTrips(40, to: host) }
                #expect(times.allSatisfy { $0 >= delay * 2 })
                #expect(median(times) < delay * 2 + tolerance)
            }
        }

        @Test(arguments: [
            Loss.independent(0.05),
            .bursts(GilbertElliott(meanLoss: 0.1, meanLength: 5)),
        ])
        func `the packets that are lost are those of the seed, and counted`(
            loss: Loss
        ) async throws {
            let seed: UInt64 = 42
            let count = 3000
            let link = try EmulatedLink(seed: seed)
            defer { link.close() }
            link.set(Impairment(delay: .milliseconds(2), loss: loss), .aToB)
            let received = try await datagrams(count, over: link)
            var process = RandomProcesses(seed: seed).loss
            let expected = (0..<count).filter { _ in !process.losesNext(loss) }
            #expect(received == expected)
            let counters = link.counters(.aToB)
            #expect(counters.arrived == UInt64(count))
            #expect(counters.lost == UInt64(count - received.count))
            #expect(counters.delivered == UInt64(received.count))
            #expect(counters.missed == 0)
        }

        @Test func `a link that loses everything lets nothing through`() async throws {
            let link = try EmulatedLink(seed: 1)
            defer { link.close() }
            link.set(Impairment(loss: .all), .aToB)
            #expect(try await datagrams(100, over: link) == [])
            #expect(link.counters(.aToB).lost == 100)
        }

        @Test func `copies arrive as often as they are counted`() async throws {
            let link = try EmulatedLink(seed: 5)
            defer { link.close() }
            link.set(Impairment(delay: .milliseconds(2), duplication: 0.1), .aToB)
            let received = try await datagrams(2000, over: link)
            let counters = link.counters(.aToB)
            #expect(counters.duplicated > 100)
            #expect(received.count == 2000 + Int(counters.duplicated))
            #expect(received == received.sorted())
            #expect(Set(received).count == 2000)
        }

        @Test func `packets arrive late in the order as often as it is counted`() async throws {
            let link = try EmulatedLink(seed: 5)
            defer { link.close() }
            // Long enough that all the others have arrived before the first one that was held back.
            let reordering = Impairment.Reordering(probability: 0.1, extraDelay: .seconds(2))
            link.set(Impairment(delay: .milliseconds(2), reordering: reordering), .aToB)
            let received = try await datagrams(500, over: link)
            var highest = -1
            var late = 0
            for number in received {
                if number < highest { late += 1 }
                highest = max(highest, number)
            }
            let counters = link.counters(.aToB)
            #expect(received.sorted() == Array(0..<500))
            #expect(counters.heldBack > 20)
            #expect(counters.reordered == UInt64(late))
            // At most the last packets are held back and not overtaken.
            #expect(counters.heldBack - counters.reordered < 5)
        }

        @Test func `jitter keeps the order and stays within its width`() async throws {
            let link = try EmulatedLink(seed: 5)
            defer { link.close() }
            let host = link.b.ipv4
            let echo = try EchoServer(at: link.b, host: host)
            defer { echo.stop() }
            link.set(
                Impairment(delay: .milliseconds(10), jitter: .uniform(.milliseconds(5))), .aToB)
            let times = try await link.a.run { try roundTrips(200, to: host) }
            #expect(times.allSatisfy { $0 >= .milliseconds(5) })
            // Quartiles of 5...15 ms, with four standard errors of a quartile of 200 and the lateness allowed.
            let sorted = times.sorted()
            #expect(abs(sorted[50] / .milliseconds(1) - 7.5) < 2.2)
            #expect(abs(sorted[150] / .milliseconds(1) - 12.5) < 2.2)
            #expect(link.counters(.aToB).reordered == 0)
        }

        /// Sends datagrams from A to B as fast as the link takes them up.
        ///
        /// - Returns: Their numbers in the order in which they arrived.
        private func datagrams(_ count: Int, over link: EmulatedLink) async throws -> [Int] {
            let host = link.b.ipv4
            let receiver = try await link.b.run {
                let socket = try IPSocket(datagramsOf: AF_INET)
                try socket.bind(host, 9)
                return socket
            }
            return try await link.a.run {
                let sender = try IPSocket(datagramsOf: AF_INET)
                try sender.connect(host, 9)
                for number in 0..<count {
                    try sender.send([UInt8(number >> 8), UInt8(number & 0xff)])
                }
                let isDone = eventually {
                    let counters = link.counters(.aToB)
                    return counters.arrived == count && counters.inside == 0
                }
                guard isDone else { throw SocketFailure("the link did not hand on all packets") }
                var numbers: [Int] = []
                while let bytes = receiver.receive(waiting: false) {
                    numbers.append(Int(bytes[0]) << 8 | Int(bytes[1]))
                }
                return numbers
            }
        }
    }
}

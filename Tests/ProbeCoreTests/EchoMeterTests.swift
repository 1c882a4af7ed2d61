import OwnedThreads
import ProbeCore
import Synchronization
import TestKit
import Telemetry
import Testing
import Transport

@Suite struct EchoMeterTests {
    private typealias Reply = ScriptedDatagrams.Reply

    @Test(arguments: ["127.0.0.1", "::1"])
    func `a host that echoes has a round trip, jitter and no loss`(host: String) throws {
        let server = try ScriptedDatagrams(host: host) { _, packet in [Reply(bytes: packet)] }
        let found = try measure("udp://\(server.address) gap=2ms count=20 wait=10s")
        #expect(found.failure == nil)
        #expect(found.metrics[.loss]?.inUnit == 0)
        #expect(found.metrics[.rtt] != nil && found.metrics[.jitter] != nil)
        for metric in [Metric.dns, .tcp, .tls, .ttfb, .total, .throughput, .loadedRTT] {
            #expect(found.metrics[metric] == nil, "\(metric) was not measured")
        }
        #expect(found.remoteAddress == host)
        #expect(found.sourceAddress == host)
        #expect(found["sent"] == .integer(20))
        #expect(found["received"] == .integer(20))
        #expect(found["loss_runs"] == .integers([]))
        #expect(found["foreign_packets"] == .integer(0))
        guard case .number(let median) = found["rtt_median_ms"] else {
            Issue.record("no median")
            return
        }
        #expect(abs(try value(.rtt, of: found) - median) < 0.000_001)
    }

    @Test func `what is lost, doubled, swapped and foreign is counted`() throws {
        let held = Mutex<[UInt8]>([])
        // 0 answered; 1, 2 lost; 3 twice; 4 held until 5; 6 lost; 7 changed; 8 from elsewhere; 9 answered.
        let server = try ScriptedDatagrams { number, packet in
            switch number {
            case 1, 2, 6: return []
            case 3: return [Reply(bytes: packet), Reply(bytes: packet)]
            case 4:
                held.withLock { $0 = packet }
                return []
            case 5: return [Reply(bytes: packet), Reply(bytes: held.withLock { $0 })]
            case 7: return [Reply(bytes: packet.dropLast() + [packet[packet.count - 1] ^ 1])]
            case 8: return [Reply(bytes: packet, isFromServer: false)]
            default: return [Reply(bytes: packet)]
            }
        }
        let found = try measure(
            "udp://\(server.address) spacing=periodic gap=2ms count=10 wait=2s")
        #expect(found.failure == nil)
        #expect(found["sent"] == .integer(10))
        #expect(found["received"] == .integer(5))
        #expect(found.metrics[.loss]?.inUnit == 50)
        #expect(found["loss_runs"] == .integers([2, 3]))
        #expect(found["duplicates"] == .integer(1))
        #expect(found["reordered"] == .integer(1))
        // The system itself keeps what comes from elsewhere back.
        #expect(found["foreign_packets"] == .integer(1))
    }

    @Test func `a silent host is lost in full and has no round trip`() throws {
        let server = try ScriptedDatagrams { _, _ in [] }
        let found = try measure("udp://\(server.address) gap=1ms count=3 wait=50ms")
        #expect(found.failure?.stage == .tcp)
        #expect(found.failure?.message == "no answer to any of 3 packets")
        #expect(found.metrics[.loss]?.inUnit == 100)
        #expect(found.metrics[.rtt] == nil && found.metrics[.jitter] == nil)
        #expect(found["loss_runs"] == .integers([3]))
    }

    @Test func `a closed port is lost with its reason`() throws {
        let address: SocketAddress
        do { address = try ScriptedDatagrams { _, _ in [] }.address }
        let found = try measure("udp://\(address) gap=1ms count=3 wait=50ms")
        #expect(found.failure?.stage == .tcp)
        #expect(found.metrics[.loss]?.inUnit == 100)
        #expect(
            found.failure?.message
                == "no answer to any of 3 packets: port unreachable, says 127.0.0.1 (3 times)")
    }

    @Test func `answers to an earlier train do not count`() throws {
        let first = Mutex<[[UInt8]]>([])
        let server = try ScriptedDatagrams { number, packet in
            if number < 3 {
                first.withLock { $0.append(packet) }
                return []
            }
            return [Reply(bytes: first.withLock { $0[number - 3] })]
        }
        _ = try measure("udp://\(server.address) gap=1ms count=3 wait=10ms")
        let found = try measure("udp://\(server.address) gap=1ms count=3 wait=200ms")
        #expect(found.metrics[.loss]?.inUnit == 100)
        #expect(found["foreign_packets"] == .integer(3))
    }

    @Test func `a host that floods does not keep the train from its end`() throws {
        let noise = [UInt8](repeating: 1, count: 56)
        let server = try ScriptedDatagrams { _, packet in
            [Reply](repeating: Reply(bytes: noise), count: 200) + [Reply(bytes: packet)]
        }
        let found = try measure("udp://\(server.address) gap=1ms count=5 wait=2s")
        #expect(try #require(found.metrics[.loss]).inUnit <= 100)
        #expect(found["sent"] == .integer(5))
    }

    @Test func `a name is looked up and its time told`() throws {
        let server = try ScriptedDatagrams { _, packet in [Reply(bytes: packet)] }
        let found = try measure(
            "udp://localhost:\(server.address.port) family=ipv4 gap=1ms count=2 wait=10s")
        #expect(found.failure == nil)
        #expect(found.metrics[.dns] != nil)
        #expect(found.remoteAddress == "127.0.0.1")
        let unknown = try measure("udp://nowhere.invalid:7")
        #expect(unknown.failure?.stage == .dns)
        #expect(unknown.metrics.isEmpty)
    }

    @Test func `the timeout does not cut the train`() throws {
        let server = try ScriptedDatagrams { _, packet in [Reply(bytes: packet)] }
        let found = try measure(
            "udp://\(server.address) spacing=periodic gap=20ms count=10 wait=10s",
            timeout: .milliseconds(20))
        #expect(found["sent"] == .integer(10))
        #expect(found.failure == nil)
    }

    @Test func `a train that is stopped says nothing of its target`() throws {
        let interrupt = try Interrupt()
        let server = try ScriptedDatagrams { _, packet in
            interrupt.trigger()
            return [Reply(bytes: packet)]
        }
        let meters = try makeMeters()
        let target = try Target("udp://\(server.address) count=1000 gap=500ms wait=60s")
        guard case .notMeasured(let reason) = meters.measure(target, interrupt: interrupt) else {
            Issue.record("it was measured")
            return
        }
        #expect(reason.contains("stopped"))
    }

    private static let mayPing = EchoPermission.current().ipv4 != .none

    @Test(
        .enabled(if: mayPing, "needs net.ipv4.ping_group_range or CAP_NET_RAW"),
        arguments: ["127.0.0.1", "[::1]"])
    func `this machine answers ICMP`(host: String) throws {
        let found = try measure("icmp://\(host) gap=2ms count=10 wait=10s size=1400")
        #expect(found.failure == nil, "\(found.failure?.message ?? "")")
        #expect(found.metrics[.loss]?.inUnit == 0)
        #expect(found["received"] == .integer(10))
        #expect(found["foreign_packets"] == .integer(0))
        #expect(found["duplicates"] == .integer(0))
    }

    @Test(.enabled(if: mayPing, "needs net.ipv4.ping_group_range or CAP_NET_RAW"))
    func `two trains at once to one host do not count each other's answers`() async throws {
        try await withThrowingTaskGroup(of: Measurement.self) { group in
            for index in 0..<4 {
                group.addTask {
                    try await onOwnThread("train-\(index)") {
                        try measure("icmp://127.0.0.1 gap=1ms count=50 wait=10s")
                    }
                }
            }
            for try await found in group {
                #expect(found["received"] == .integer(50))
                #expect(found["duplicates"] == .integer(0))
            }
        }
    }
}

extension Measurement {
    /// The value of a detail; nil when it is not there.
    subscript(detail: String) -> MeasurementDetail.Value? {
        details.first { $0.name == detail }?.value
    }
}

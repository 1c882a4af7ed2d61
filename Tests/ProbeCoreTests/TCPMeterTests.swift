import ProbeCore
import Telemetry
import TestKit
import Testing
import Transport

@Suite struct TCPMeterTests {
    @Test func `an open port has its handshake and its round trip`() throws {
        let listener = try Listener(host: "127.0.0.1", port: 0)
        let found = try measure("tcp://127.0.0.1:\(listener.address.port)")
        #expect(found.failure == nil)
        #expect(found.metrics[.tcp] != nil && found.metrics[.rtt] != nil)
        for metric in Metric.allCases where metric != .tcp && metric != .rtt {
            #expect(found.metrics[metric] == nil, "\(metric) was not measured")
        }
        #expect(found.sourceAddress == "127.0.0.1")
        #expect(found["addresses_tried"] == .integer(1))
        #expect(found["addresses"] == nil)
    }

    @Test func `a closed port fails in tcp, a name that does not exist in dns`() throws {
        let port: UInt16
        do { port = try Listener(host: "127.0.0.1", port: 0).address.port }
        #expect(try measure("tcp://127.0.0.1:\(port)").failure?.stage == .tcp)
        let unknown = try measure("tcp://nowhere.invalid:1")
        #expect(unknown.failure?.stage == .dns)
        #expect(unknown.metrics.isEmpty)
    }

    @Test func `only addresses of the wanted family are tried`() throws {
        let meters = { (family: String) throws -> Measurement in
            let both = Resolver { _, port in
                let addresses = ["::1", "127.0.0.1"].compactMap {
                    SocketAddress(literal: $0, port: port)
                }
                return .success(
                    Resolver.Answer(addresses: addresses, started: .now(), finished: .now()))
            }
            defer { both.shutDown() }
            let listener = try Listener(host: "127.0.0.1", port: 0)
            let target = try Target("tcp://both.example:\(listener.address.port) \(family)")
            guard case .measured(let found) = try makeMeters(both).measure(target) else {
                throw NotMeasured(reason: family)
            }
            return found
        }
        let ipv4 = try meters("family=ipv4")
        #expect(ipv4.failure == nil)
        #expect(ipv4["addresses_tried"] == .integer(1))
        #expect(ipv4["addresses"] == .integer(2))
        let ipv6 = try meters("family=ipv6")
        #expect(ipv6.failure?.stage == .tcp)
        #expect(ipv6.remoteAddress == "::1")
        #expect(try meters("").failure == nil)
    }

    @Test func `a name without addresses of the wanted family fails in dns`() throws {
        let resolver = Resolver { _, port in
            .success(
                Resolver.Answer(
                    addresses: [SocketAddress(literal: "127.0.0.1", port: port)].compactMap { $0 },
                    started: .now(), finished: .now()))
        }
        defer { resolver.shutDown() }
        let target = try Target("tcp://old.example:1 family=ipv6")
        guard case .measured(let found) = try makeMeters(resolver).measure(target) else {
            Issue.record("it was not measured")
            return
        }
        #expect(found.failure?.stage == .dns)
        #expect(found.failure?.message.contains("no ipv6 address") == true)
    }
}

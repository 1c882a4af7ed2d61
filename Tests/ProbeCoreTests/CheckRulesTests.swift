import ProbeCore
import ServiceKit
import Telemetry
import Testing

@testable import ProbeCore
@testable import Transport

/// The parts of `probe check` that judge, without a network.
@Suite struct CheckRulesTests {
    @Test func `warnings do not fail a check`() {
        let report = CheckReport([.ok("a", "b"), .warning("c", "d", "e"), .skipped("f", "g")])
        #expect(report.exitCode == .success)
        #expect(report.summary == "3 checks: 1 ok, 1 with a warning, 0 failed, 1 skipped\n")
    }

    @Test func `nothing that a server says can forge a line`() {
        let text = CheckReport.text(of: .failed("a", "x\nok  all is well\u{1B}[2J", "y\rz"))
        #expect(text.split(separator: "\n").count == 2)
        #expect(!text.contains("\u{1B}"))
        #expect(!text.contains("\r"))
    }

    @Test func `a disk needs the room that the spool has not taken yet`() {
        let need: UInt64 = 64 << 20
        #expect(DiskCheck.judge(freeBytes: need, usedBytes: 0, bytesMax: need).result == .ok)
        #expect(
            DiskCheck.judge(freeBytes: need - 1, usedBytes: 0, bytesMax: need).result == .warning)
        #expect(
            DiskCheck.judge(freeBytes: need / 2, usedBytes: need / 2, bytesMax: need).result == .ok)
        #expect(DiskCheck.judge(freeBytes: 0, usedBytes: .max, bytesMax: need).result == .ok)
    }

    @Test func `the limit of open files is compared with the measurements at once`() {
        #expect(OpenFilesCheck.judge(limit: 1024, inFlightMax: 32).result == .ok)
        #expect(OpenFilesCheck.judge(limit: 256, inFlightMax: 256).result == .warning)
        #expect(OpenFilesCheck.judge(limit: .max, inFlightMax: 256).result == .ok)
    }

    @Test func `a proxy is named and its value is not`() {
        let finding = ProxyCheck.run(["https_proxy": "http://user:hunter2@proxy:3128", "HOME": "/"])
        #expect(finding.result == .warning)
        #expect(finding.found.contains("https_proxy"))
        #expect(!CheckReport.text(of: finding).contains("hunter2"))
        #expect(ProxyCheck.run(["HTTP_PROXY": ""]).result == .ok)
    }

    @Test func `only an address of global scope is IPv6 to the world`() throws {
        let text = """
            00000000000000000000000000000001 01 80 10 80       lo
            fe800000000000000000000000000001 02 40 20 80     eth0
            20010db8000000000000000000000001 03 40 00 80     wlan0

            """
        #expect(IPv6Check.interfaces(in: text) == ["wlan0"])
        let four = try Target("http://example.com/")
        let six = try Target("tcp://[2001:db8::1]:80")
        #expect(IPv6Check.finding([], [four]).result == .ok)
        #expect(IPv6Check.finding([], [four, six]).result == .warning)
        #expect(IPv6Check.finding(["wlan0"], [six]).result == .ok)
    }

    @Test func `a missing permission for ICMP names the targets that need it`() throws {
        let targets = try [
            Target("icmp://192.0.2.1"), Target("icmp://[2001:db8::1]"),
            Target("udp://192.0.2.1:7"), Target("first-hop"),
        ]
        let none = EchoPermission(ipv4: .none, ipv6: .none)
        let findings = EchoCheck.findings(none, targets)
        #expect(findings.map(\.result) == [.warning, .warning])
        #expect(findings[0].found.hasSuffix("not measured: icmp://192.0.2.1"))
        #expect(findings[1].found.hasSuffix("not measured: icmp://[2001:db8::1]"))
        #expect(findings[0].advice?.contains("net.ipv4.ping_group_range") == true)
        #expect(findings[0].advice?.contains("cap_net_raw+ep") == true)
        #expect(EchoCheck.findings(none, Array(targets[2...])).map(\.result) == [.ok, .ok])
        let all = EchoPermission(ipv4: .pingSocket, ipv6: .rawSocket)
        #expect(EchoCheck.findings(all, targets).map(\.result) == [.ok, .ok])
    }

    @Test func `only what may be sent is a capability`() {
        let none = Target.schemes(EchoPermission(ipv4: .none, ipv6: .none))
        let one = Target.schemes(EchoPermission(ipv4: .none, ipv6: .pingSocket))
        #expect(!none.contains("icmp"))
        #expect(none.contains("first-hop"))
        #expect(one.contains("icmp"))
        #expect(Set(one).subtracting(none) == ["icmp"])
    }

    @Test func `a clock is judged by ingest's, and by what year it can be`() {
        func finding(wall milliseconds: Int64, ahead: Int64?) -> CheckFinding {
            let start = BoottimeInstant(nanoseconds: 0)
            let wall = milliseconds * 1_000_000
            return ClockCheck.finding(
                ClockReading(
                    moment: MeasurementMoment(wallNanoseconds: wall, boottime: start), boot: nil,
                    estimate: ahead.map {
                        ClockEstimate(
                            offsetNanoseconds: wall + $0, halfWidthNanoseconds: 1000, from: start,
                            until: start)
                    }))
        }
        let in2026: Int64 = 1_770_000_000_000
        #expect(finding(wall: in2026, ahead: 900_000_000).result == .ok)
        #expect(finding(wall: in2026, ahead: -1_100_000_000).result == .warning)
        #expect(finding(wall: in2026, ahead: -1_100_000_000).found.contains("ahead of"))
        #expect(finding(wall: in2026, ahead: nil).result == .skipped)
        #expect(finding(wall: 1000, ahead: nil).result == .warning)
        #expect(finding(wall: 1000, ahead: 0).result == .warning)
    }

    @Test func `a certificate is judged by the days it has left`() throws {
        let day: Int64 = 86_400
        let now = 20_000 * day
        func check(_ url: String) throws -> TLSCheck {
            TLSCheck(url: try HTTPURL(url), authorityFile: nil, nowSeconds: now)
        }
        func handshake(_ seconds: Int64) -> TLSHandshake {
            TLSHandshake(
                version: "TLSv1.3", cipher: nil, applicationProtocol: nil, roundTrips: 1,
                certificate: PeerCertificate(
                    subject: "a", issuer: "b", expiresAtSeconds: seconds))
        }
        let secure = try check("https://ingest.example")
        #expect(secure.accepted(handshake(now + 14 * day)).result == .ok)
        #expect(secure.accepted(handshake(now + 14 * day - 1)).result == .warning)
        let error = TransportError(.certificate, "refused")
        let expired = secure.refused(error, handshake(now - 1))
        #expect(expired.result == .failed)
        #expect(expired.found.contains("-1 days left"))
        #expect(expired.advice?.contains("clock") == true)
        #expect(secure.refused(error, handshake(now + 1)).advice?.contains("--ca-file") == true)
        #expect(secure.refused(error, handshake(.min)).result == .failed)
        #expect(
            secure.refused(TransportError(.tls, "no TLS"), nil).advice?.contains("port") == true)
        #expect(try check("http://ingest.example").accepted(nil).result == .warning)
        for local in ["http://127.0.0.1:1", "http://localhost", "http://[::1]:1"] {
            #expect(try check(local).accepted(nil).result == .skipped)
        }
    }

    @Test func `a reason is news until it was told, and again when it has changed`() {
        let told = ToldReasons()
        #expect(told.isNew("a", of: "one"))
        #expect(!told.isNew("a", of: "one"))
        #expect(told.isNew("a", of: "two"))
        #expect(told.isNew("b", of: "one"))
        #expect(told.isNew("a", of: "one"))
        told.forget("one")
        #expect(told.isNew("a", of: "one"))
        #expect(!told.isNew("a", of: "two"))
    }
}

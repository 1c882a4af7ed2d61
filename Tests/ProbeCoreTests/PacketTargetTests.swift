import ProbeCore
import Testing
import Transport

/// What the texts of targets that are measured by single packets mean, and how their mistakes are told.
@Suite struct PacketTargetTests {
    @Test func `a question has its resolver, name and type`() throws {
        let target = try dns(
            "dns://[2001:db8::53]:5353/Example.COM.?type=aaaa carrier=tcp expect-rcode=nxdomain")
        #expect(target.resolver.host == "2001:db8::53")
        #expect(target.resolver.port == 5353)
        #expect(target.name == DNSName("example.com"))
        #expect(target.recordType == .aaaa)
        #expect(target.carrier == .tcp)
        #expect(target.expectedCode.description == "NXDOMAIN")
    }

    @Test func `a question without options is for an address over UDP`() throws {
        let target = try dns("dns://192.0.2.53/example.com")
        #expect(target.resolver.port == nil)
        #expect(target.recordType == .a)
        #expect(target.carrier == .udp)
        #expect(target.expectedCode == .noError)
        #expect(try dns("dns://192.0.2.53/.?type=NS").name.wire == [0])
    }

    @Test(arguments: [
        ("dns://192.0.2.53", "names nothing to ask for"),
        ("dns://192.0.2.53/?type=A", "names nothing to ask for"),
        ("dns://192.0.2.53/a..example", "no domain name"),
        ("dns://192.0.2.53/\(String(repeating: "a", count: 64)).example", "no domain name"),
        ("dns://192.0.2.53/\(String(repeating: "abc.", count: 64)) name=long", "no domain name"),
        ("dns://192.0.2.53/exämple.com", "no domain name"),
        ("dns://192.0.2.53/example.com?type=ANY", "a type that is not one of A, AAAA,"),
        ("dns://192.0.2.53/example.com?class=ch", "where only type="),
        ("dns://192.0.2.53:0/example.com", "no port from 1 to 65535"),
        ("dns://192.0.2.53/example.com carrier=tls", "carrier that is not one of udp, tcp"),
        (
            "dns://192.0.2.53/example.com expect-rcode=NOPE",
            "expect-rcode that is not one of NOERROR"
        ),
        ("dns://192.0.2.53/example.com family=ipv4", "the option family, which its kind"),
        ("tcp://a.example", "write tcp://host:port"),
        ("tcp://a.example:443/path", "has something after its host and port"),
        ("tcp://192.0.2.1:443 family=ipv6", "an address of the other family"),
        ("tcp://a.example:443 family=ipv5", "family that is not one of ipv4, ipv6"),
        ("icmp://a.example:7", "has a port, which ICMP does not know"),
        ("icmp://[::1] family=ipv4", "an address of the other family"),
        ("udp://a.example", "write udp://host:port"),
        ("icmp://a.example count=0", "count that is not a whole number from 1 to 1000"),
        ("icmp://a.example count=1001", "count that is not a whole number from 1 to 1000"),
        ("icmp://a.example spacing=even", "spacing that is not one of poisson, periodic"),
        ("icmp://a.example gap=0ms", "gap that is not a duration from 1ms to 10s"),
        ("icmp://a.example wait=2m", "wait that is not a duration from 10ms to"),
        ("icmp://a.example size=8", "size that is not a whole number from 24 to 1400"),
        ("icmp://a.example count=1000 gap=1s", "a train longer than 10m"),
        ("first-hop towards=gateway", "towards that is not an IP address"),
        ("first-hop family=ipv4", "the option family, which its kind"),
    ])
    func `a mistake is told once and clearly`(text: String, part: String) {
        let refusal = #expect(throws: TargetRefusal.self) { try Target(text) }
        #expect(refusal?.description.contains(part) == true, "\(refusal?.description ?? "")")
    }

    @Test func `a train has its options`() throws {
        let text =
            "udp://a.example:7 count=100 spacing=periodic gap=20ms wait=500ms size=172 family=ipv6"
        guard case .echo(let target) = try Target(text).method else {
            Issue.record("not an echo target")
            return
        }
        #expect(target.carrier == .udp(port: 7))
        #expect(target.family == .ipv6)
        #expect(target.train.count == 100)
        #expect(target.train.spacing == .periodic)
        #expect(target.train.gap == .milliseconds(20))
        #expect(target.train.patience == .milliseconds(500))
        #expect(target.train.payloadBytes == 172)
    }

    @Test func `the first hop has a train too`() throws {
        let text = "first-hop count=5 towards=2001:db8::9"
        guard case .firstHop(let target) = try Target(text).method else {
            Issue.record("not the first hop")
            return
        }
        #expect(target.train.count == 5)
        #expect(target.towards == "2001:db8::9")
    }

    private func dns(_ text: String) throws -> DNSTarget {
        guard case .dns(let target) = try Target(text).method else {
            throw NotMeasured(reason: "\(text) is not a question")
        }
        return target
    }
}

import LinkEmulation
import ProbeCore
import Telemetry
import Testing

extension OnAnEmulatedLink {
    @Suite struct FirstHopProofTests {
        @Test func `the first hop of a route without a gateway is as far as the link is long`()
            async throws
        {
            let delay = 10.0
            try await expectFigures {
                let proven = try ProvenLink(Impairment(delay: .milliseconds(delay)))
                defer { proven.close() }
                try proven.link.b.namespace.forwardPackets()
                try await proven.link.a.addRoute(to: "0.0.0.0/0")
                let found = try await proven.measure("first-hop gap=20ms wait=300ms")
                print(
                    "FH", found.details.map { "\($0.name)=\($0.value.text)" },
                    proven.link.counters(.aToB), proven.link.counters(.bToA))
                #expect(try found.text("method") == "udp-hop-limit")
                // Routers limit how many reports they make: one that is missing is no loss.
                #expect(found.metrics[.loss] == nil)
                #expect(found.failure == nil)
                return [
                    Figure(
                        "rtt_ms", try found.value(.rtt), from: 2 * delay, late: ProvenLink.lateness)
                ]
            }
        }
    }
}

import FoundationEssentials
import ProbeCore
import Telemetry
import Testing

@Suite struct EventJSONTests {
    private let event = Event(
        id: UniqueID(high: 0x550e_8400_e29b_41d4, low: 0xa716_4466_5544_0000),
        clientID: "probe-001", target: "https://api.example.com",
        measuredAtMilliseconds: 1_703_347_200_000)

    private func text(_ event: Event) -> String { String(decoding: event.json, as: UTF8.self) }

    @Test func `what was not measured is absent`() {
        #expect(
            text(event)
                == #"{"ts_ms":1703347200000,"schema_version":1,"event_id":"550e8400-e29b-41d4-a716-446655440000","#
                + #""client_id":"probe-001","target":"https://api.example.com","#
                + #""timing_measurements":{},"error_stage":null}"#)
    }

    @Test func `everything that is known is written under its name`() throws {
        var full = event
        full.context = NetworkContext(
            sourceIP: "192.0.2.7", networkType: "wifi", isp: "Example ISP", asn: 64500,
            region: "eu-west", resolver: "192.0.2.53")
        for (index, metric) in Metric.allCases.enumerated() {
            full.metrics[metric] = MetricValue(Double(index) + 0.25, of: metric)
        }
        full.errorStage = .tls
        full.sequence = SessionSequence(session: UniqueID(high: 1, low: 2), number: 7)
        let text = text(full)
        for member in [
            #""source_ip":"192.0.2.7""#, #""network_type":"wifi""#, #""isp":"Example ISP""#,
            #""asn":64500"#, #""region":"eu-west""#, #""resolver":"192.0.2.53""#,
            #""dns_ms":0.25"#, #""loaded_rtt_ms":9.25"#, #""throughput_mbps":4.25"#,
            #""error_stage":"tls""#, #""seq":7"#,
        ] {
            #expect(text.contains(member), "\(member) is missing in \(text)")
        }
    }

    @Test(
        arguments: [
            (0, "0"), (1, "0.000001"), (1_000_000, "1"), (15_300_000, "15.3"),
            (10_000_010, "10.00001"),
        ] as [(UInt64, String)])
    func `times are written exactly`(millionths: UInt64, written: String) {
        var timed = event
        timed.metrics[.ttfb] = MetricValue(millionths: millionths)
        #expect(text(timed).contains(#""ttfb_ms":\#(written)}"#))
    }

    @Test(arguments: ["\"quoted\"", "back\\slash", "line\nbreak", "\u{1}", "ünïcode 🙂", "\u{7f}"])
    func `any text survives`(target: String) throws {
        struct Decoded: Decodable { let target: String }
        var named = event
        named.target = Name(target)
        let decoded = try JSONDecoder().decode(Decoded.self, from: Data(named.json))
        #expect(decoded.target == target)
    }
}

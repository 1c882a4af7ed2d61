import ProbeCore
import Telemetry
import TestKit
import Testing
import Transport

@Suite struct LoadedMeterTests {
    @Test(arguments: ["download", "upload"], [false, true])
    func `round trips are measured without load and with it`(
        direction: String, isSecure: Bool
    ) throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let url = isSecure ? target.httpsURL : target.httpURL
        let found = try measure(
            "loaded+\(url)/bytes/1000000000000 direction=\(direction) small=/fast max-time=1500ms"
                + " max-bytes=16GiB connections=2",
            authorityFile: target.authorityFile)
        #expect(found.failure == nil, "\(String(describing: found.failure))")
        for metric in [Metric.rtt, .loadedRTT, .throughput, .tcp] {
            #expect(found.metrics[metric] != nil, "\(metric), \(found.details)")
        }
        #expect((found.metrics[.tls] != nil) == isSecure)
        #expect(try number("idle_samples", of: found) >= 1)
        #expect(try number("loaded_samples", of: found) >= Double(LoadedMeter.samplesMin))
        #expect(detail("rtt_increase_ms", of: found) != nil)
        #expect(try number("rpm_foreign", of: found) > 0)
        // A second and a half are one whole interval.
        if detail("rpm", of: found) != nil {
            #expect(try text("rpm_confidence", of: found) == "low")
        }
    }

    @Test func `a load that is over at once has no loaded round trip, and the reason is told`()
        throws
    {
        let target = try LocalTarget()
        defer { target.stop() }
        let found = try measure(
            "loaded+\(target.httpURL)/bytes/1000000000000 small=/fast max-bytes=4MiB")
        #expect(found.failure == nil)
        #expect(found.metrics[.rtt] != nil)
        #expect(found.metrics[.loadedRTT] == nil)
        #expect(try text("loaded_rtt_absent", of: found).contains("max-bytes"))
    }

    @Test func `something small that is not there fails in http before any load`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let found = try measure("loaded+\(target.httpURL)/bytes/100000000 small=/nothing")
        #expect(found.failure?.stage == .http)
        #expect(found.failure?.message.contains("small=") == true)
        #expect(found.metrics[.loadedRTT] == nil && found.metrics[.throughput] == nil)
    }

    @Test func `a load that fails keeps the round trips without load`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let found = try measure("loaded+\(target.httpURL)/fail?status=503 small=/fast")
        #expect(found.failure?.stage == .http)
        #expect(found.failure?.message.contains("503") == true)
        #expect(found.metrics[.rtt] != nil)
        #expect(found.metrics[.loadedRTT] == nil && found.metrics[.throughput] == nil)
    }

    @Test func `a server that is not there fails in tcp`() throws {
        let port = try Listener(host: "127.0.0.1", port: 0).address.port
        let found = try measure("loaded+http://127.0.0.1:\(port)/")
        #expect(found.failure?.stage == .tcp)
        #expect(found.metrics.isEmpty)
    }

    @Test func `a server that is silent to all but the first is held to the deadline`() throws {
        let server = try RawServer { connection, patience in
            _ = try connection.readHead(patience)
            try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", patience)
            try connection.drain(patience)
            patience.interrupt?.sleep(for: .seconds(60))
        }
        let found = try measure("loaded+\(server.url)", timeout: .milliseconds(800))
        #expect(found.failure != nil)
        #expect(found.metrics[.loadedRTT] == nil)
    }
}

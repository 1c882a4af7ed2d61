import TargetServing
import ProbeCore
import Telemetry
import TestKit
import Testing
import Transport

@Suite struct HTTPMeterTests {
    @Test func `a fast answer has the stages of plain http and no others`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let found = try measure("\(target.httpURL)/fast")
        #expect(found.failure == nil)
        #expect(found.status == 200)
        #expect(found.bodyBytes == 3)
        #expect(found.sourceAddress == "127.0.0.1")
        for metric in [Metric.tcp, .ttfb, .total, .rtt] {
            #expect(found.metrics[metric] != nil, "\(metric) is missing")
        }
        // No lookup for an address, no TLS in http, and no rate of three bytes.
        for metric in [Metric.dns, .tls, .throughput, .jitter, .loss, .loadedRTT] {
            #expect(found.metrics[metric] == nil, "\(metric) was not measured")
        }
    }

    @Test func `a name is looked up before connecting`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let found = try measure("\(target.namedURL)/fast")
        #expect(found.failure == nil)
        #expect(found.metrics[.dns] != nil)
        // `localhost` is often ::1 first, where nobody listens: the next address is tried.
        #expect(found.remoteAddress == "127.0.0.1")
    }

    @Test func `a slow server shows in the first byte and nowhere else`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let found = try measure(
            "\(target.httpsURL)/slow?ms=300", authorityFile: target.authorityFile)
        #expect(found.failure == nil)
        let firstByte = try value(.ttfb, of: found)
        #expect(firstByte >= 300)
        #expect(try value(.tcp, of: found) < firstByte)
        #expect(try value(.tls, of: found) < firstByte)
        #expect(try value(.total, of: found) >= firstByte)
        #expect(found.tlsVersion == "TLSv1.3")
    }

    @Test func `the total covers all stages`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let found = try measure("\(target.namedURL)/bytes/1000000")
        let parts = try [Metric.dns, .tcp, .ttfb].map { try value($0, of: found) }
        #expect(try value(.total, of: found) >= parts.reduce(0, +))
        #expect(found.bodyBytes == 1_000_000)
    }

    @Test func `a large body has a rate, a small one has none`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let least = HTTPMeter.throughputBytesMin
        #expect(try measure("\(target.httpURL)/bytes/\(8 * least)").metrics[.throughput] != nil)
        #expect(try measure("\(target.httpURL)/bytes/\(least - 1)").metrics[.throughput] == nil)
    }

    @Test func `reading stops at the byte budget, and the total is then absent`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let found = try measure("\(target.httpURL)/bytes/100000000", bodyBytesMax: 1_000_000)
        #expect(found.failure == nil)
        #expect(found.stoppedAtBudget)
        #expect(found.metrics[.total] == nil)
        #expect(try #require(found.bodyBytes) < 2_000_000)
    }

    @Test func `a redirect is the measured answer`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let found = try measure("\(target.httpURL)/fail?status=302")
        #expect(found.failure == nil)
        #expect(found.status == 302)
    }

    @Test(arguments: [400, 404, 500, 503])
    func `a status of 400 or higher is an error of http that keeps its times`(status: Int) throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let found = try measure("\(target.httpURL)/fail?status=\(status)")
        #expect(found.failure?.stage == .http)
        #expect(found.status == status)
        #expect(found.metrics[.ttfb] != nil)
        #expect(found.metrics[.total] != nil)
    }

    @Test func `an IPv6 address is measured`() throws {
        let target = try LocalTarget(host: "::1")
        defer { target.stop() }
        let found = try measure("\(target.httpURL)/fast")
        #expect(found.failure == nil)
        #expect(found.remoteAddress == "::1")
    }
}

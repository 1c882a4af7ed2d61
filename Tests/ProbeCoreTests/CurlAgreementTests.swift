import Foundation
import ProbeCore
import Telemetry
import TestKit
import Testing

/// The stages mean what `curl -w` means by the same moments.
///
/// How closely the two agree is printed, for the documentation, and not asserted: it depends on what else the machine does.
/// `QOE_CURL_PAIRS=25` takes as many pairs as the table there.
@Suite(.serialized) struct CurlAgreementTests {
    /// Pairs of measurements, taken in turn so that both see the same machine.
    private static let pairs =
        ProcessInfo.processInfo.environment["QOE_CURL_PAIRS"].flatMap { Int($0) } ?? 3

    private static let metrics: [Metric] = [.dns, .tcp, .tls, .ttfb, .total]
    /// What the target waits before the first byte, milliseconds.
    private static let targetDelay = 50.0

    @Test(arguments: ["/fast", "/slow?ms=50", "/bytes/1000000"])
    func `http and https have the stages that curl has`(path: String) async throws {
        try await onOwnThread("curl") {
            let target = try LocalTarget()
            defer { target.stop() }
            for (url, isSecure) in [
                (target.namedURL + path, false), (target.namedSecureURL + path, true),
            ] {
                let table = try compare(url, trusting: target.authorityFile)
                for row in table { print("curl-agreement \(url) \(row)") }
                let probe = Dictionary(
                    table.map { ($0.metric, $0.probe) }, uniquingKeysWith: { first, _ in first })
                #expect((probe[.tls] != nil) == isSecure, "\(url)")
                #expect(probe[.dns] != nil && probe[.tcp] != nil, "\(url)")
                let total = try #require(probe[.total])
                for row in table where row.metric != .total {
                    #expect(row.probe > 0 && row.probe <= total, "\(url): \(row)")
                }
                if path.hasPrefix("/slow") {
                    // In the same stage for both: nothing else can take so long by itself.
                    let row = try #require(table.first { $0.metric == .ttfb })
                    #expect(row.probe >= Self.targetDelay && row.curl >= Self.targetDelay)
                }
            }
        }
    }

    private struct Row: CustomStringConvertible {
        let metric: Metric
        let probe: Double
        let curl: Double

        var description: String { "\(metric.sqlName) probe \(probe) ms, curl \(curl) ms" }
    }

    private func compare(_ url: String, trusting authorityFile: String) throws -> [Row] {
        var probe: [Metric: [Double]] = [:]
        var curl: [Metric: [Double]] = [:]
        for _ in 0..<Self.pairs {
            let found = try measure(url, authorityFile: authorityFile)
            try #require(found.failure == nil)
            for metric in Self.metrics {
                guard let value = found.metrics[metric] else { continue }
                probe[metric, default: []].append(value.inUnit)
            }
            for (metric, value) in try curlStages(url, trusting: authorityFile) {
                curl[metric, default: []].append(value)
            }
        }
        return try Self.metrics.compactMap { metric in
            guard let ours = probe[metric] else { return nil }
            let theirs = try #require(curl[metric])
            return Row(metric: metric, probe: median(ours), curl: median(theirs))
        }
    }

    private func curlStages(
        _ url: String, trusting authorityFile: String
    ) throws -> [(Metric, Double)] {
        let format =
            "%{time_namelookup} %{time_connect} %{time_appconnect} %{time_pretransfer} "
            + "%{time_starttransfer} %{time_total}\\n"
        // Twice, each on a fresh connection with a full handshake, and the second counts: the first
        // has the start of curl's TLS library in it, 2 ms that are not the network's.
        let command =
            "curl -s --no-sessionid -H 'Connection: close' --cacert '\(authorityFile)' "
            + "-w '\(format)' -o /dev/null '\(url)' -o /dev/null '\(url)'"
        let output = try #require(popen(command, "r"))
        defer { pclose(output) }
        var line = [CChar](repeating: 0, count: 512)
        while fgets(&line, Int32(line.count), output) != nil {}
        let text = String(
            decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let times = text.split(whereSeparator: \.isWhitespace).compactMap { Double($0) }
            .map { $0 * 1000 }
        try #require(times.count == 6, "curl said \(text)")
        return [
            (.dns, times[0]), (.tcp, times[1] - times[0]), (.tls, times[2] - times[1]),
            (.ttfb, times[4] - times[3]), (.total, times[5]),
        ]
    }

    private func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        return sorted[sorted.count / 2]
    }
}

import Diagnosis
import Telemetry
import Testing

private func label(medians: [Metric: Double]) -> MinuteLabel? {
    label(failures: [:], medians: medians)
}

/// The label of a minute with six events.
private func label(
    failures: [ErrorStage: Int64], medians: [Metric: Double] = [:]
) -> MinuteLabel? {
    MinuteRules.label(
        of: MinuteSummary(
            total: 6, errors: failures.values.reduce(0, +), errorsByStage: failures,
            medians: medians))
}

@Test func `an ordinary minute is healthy`() {
    #expect(
        label(medians: [
            .dns: 15.3, .tcp: 25.7, .tls: 45.2, .ttfb: 125.8, .total: 212, .throughput: 95.4,
        ]) == .healthy)
}

@Test func `a slow phase names itself`() {
    let path: [Metric: Double] = [.dns: 10, .tcp: 20, .tls: 40, .ttfb: 30, .total: 110]
    func with(_ metric: Metric, _ value: Double) -> [Metric: Double] {
        var medians = path
        medians[.total] = (path[.total] ?? 0) - (path[metric] ?? 0) + value
        medians[metric] = value
        return medians
    }
    #expect(label(medians: path) == .healthy)
    #expect(label(medians: with(.dns, 400)) == .dnsBound)
    #expect(label(medians: with(.tls, 1500)) == .handshakeBound)
    #expect(label(medians: with(.ttfb, 330)) == .serverBound)
    #expect(label(medians: path.merging([.total: 2000]) { $1 }) == .throughputBound)
}

@Test func `a far path is not a slow server`() {
    // 250 ms of round trip: one for TCP, one for TLS 1.3, one for the request.
    #expect(label(medians: [.dns: 20, .tcp: 90, .tls: 95, .ttfb: 100]) == .healthy)
    #expect(label(medians: [.dns: 20, .tcp: 250, .tls: 255, .ttfb: 260]) == .handshakeBound)
}

@Test func `a small total is healthy whatever the shares are`() {
    #expect(label(medians: [.dns: 40, .tcp: 1, .tls: 2, .ttfb: 1]) == .healthy)
}

@Test func `failures decide by the stage that most of them failed at`() {
    #expect(label(failures: [.dns: 4, .http: 1]) == .dnsBound)
    #expect(label(failures: [.tls: 3, .tcp: 2]) == .handshakeBound)
    #expect(label(failures: [.http: 6], medians: [.ttfb: 2]) == .serverBound)
    #expect(label(failures: [.throughput: 6]) == .throughputBound)
    #expect(label(failures: [.dns: 3, .http: 3]) == .dnsBound)
    #expect(label(failures: [.http: 2], medians: [.ttfb: 2]) == .healthy)
}

@Test func `a low rate without a total is bound by throughput`() {
    #expect(label(medians: [.throughput: 0.8]) == .throughputBound)
}

@Test func `nothing measured is no label`() {
    #expect(label(failures: [:]) == nil)
    let empty = MinuteSummary(total: 0, errors: 0, errorsByStage: [:], medians: [.dns: 3])
    #expect(MinuteRules.label(of: empty) == nil)
}

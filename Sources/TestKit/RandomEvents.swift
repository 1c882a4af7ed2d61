package import Telemetry

extension SeededGenerator {
    /// An event within ``EventLimits``, with every optional part now there and now absent.
    package mutating func event() -> Event {
        var event = Event(
            id: .random(using: &self),
            clientID: chance(80) ? Name("probe-\(next() % 4)") : text(longest: 60),
            target: chance(80) ? "https://a.example" : text(longest: 60),
            measuredAtMilliseconds: Int64.random(in: 0...4_000_000_000_000, using: &self))
        if chance(60) { event.context = context() }
        event.metrics = metrics()
        if chance(20) { event.errorStage = ErrorStage.allCases.randomElement(using: &self) }
        if chance(70) {
            event.sequence = SessionSequence(
                session: UniqueID(high: 1, low: next() % 3),
                number: .random(in: 1...SessionSequence.maximumNumber, using: &self))
        }
        return event
    }

    /// Each metric in six of ten cases, over its whole range.
    package mutating func metrics() -> MetricSet {
        var metrics = MetricSet()
        for metric in Metric.allCases where chance(60) {
            let maximum = MetricValue.maximum(of: metric).millionths
            metrics[metric] = MetricValue(millionths: .random(in: 0...maximum, using: &self))
        }
        return metrics
    }

    /// Each part in every second case.
    package mutating func context() -> NetworkContext {
        NetworkContext(
            sourceIP: chance(50) ? "192.0.2.1" : nil, networkType: chance(50) ? "wifi" : nil,
            isp: chance(50) ? text(longest: 30) : nil,
            asn: chance(50) ? UInt32.random(in: 0 ... .max, using: &self) : nil,
            region: chance(50) ? "eu" : nil, resolver: chance(50) ? "192.0.2.53" : nil)
    }

    private mutating func text(longest: Int) -> Name {
        let alphabet = Array("abcxyz0189-._:/ äß東\u{1F680}")
        let count = Int.random(in: 1...longest, using: &self)
        return Name(String((0..<count).compactMap { _ in alphabet.randomElement(using: &self) }))
    }
}

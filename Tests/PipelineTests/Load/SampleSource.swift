import TestKit

/// A few probes that make events: some number them, some do not, and all have bad clocks and gaps.
struct SampleSource {
    private struct Probe {
        let client: String
        let isNumbered: Bool
        var session: String
        var number: Int64 = 0
    }

    private var random: SeededGenerator
    private var probes: [Probe] = []
    private var count = 0
    /// So many samples are of probes that number them.
    var numbersAllUntil = 0

    init(name: String, seed: UInt64) {
        random = SeededGenerator(seed: seed)
        for index in 0..<6 {
            let session = Self.identifier(&random)
            probes.append(
                Probe(client: "\(name)-\(index)", isNumbered: index % 3 != 2, session: session))
        }
    }

    /// - Parameter now: Unix milliseconds.
    mutating func next(now: Int64) -> Sample {
        var index = Int.random(in: probes.indices, using: &random)
        count += 1
        while count <= numbersAllUntil, !probes[index].isNumbered {
            index = (index + 1) % probes.count
        }
        // A probe's restart, and numbers that are never sent.
        if random.chance(1) {
            probes[index].session = Self.identifier(&random)
            probes[index].number = 0
        }
        probes[index].number += random.chance(2) ? Int64.random(in: 2...4, using: &random) : 1
        let probe = probes[index]
        var thousandths: [Int: Int64] = [:]
        for metric in Sample.metrics.indices where random.chance(metric < 5 ? 70 : 20) {
            thousandths[metric] = value(of: Sample.metrics[metric])
        }
        return Sample(
            eventID: Self.identifier(&random), client: probe.client,
            target: "https://t\(Int.random(in: 0..<3, using: &random)).example",
            measuredAtMilliseconds: now - age(), thousandths: thousandths,
            errorStage: random.chance(15) ? Sample.stages.randomElement(using: &random) : nil,
            context: random.chance(30) ? context() : nil,
            numbered: probe.isNumbered
                ? .init(session: probe.session, number: probe.number) : nil)
    }

    /// Mostly fresh, sometimes hours old, and sometimes two hours to the minute, as after an outage.
    private mutating func age() -> Int64 {
        let minute: Int64 = 60_000
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<4: return 120 * minute
        case 4..<12: return Int64.random(in: 0...5 * 60 * minute, using: &random)
        default: return Int64.random(in: 0...2 * minute, using: &random)
        }
    }

    /// Of all magnitudes, and sometimes 0.
    private mutating func value(of metric: String) -> Int64 {
        if random.chance(3) { return 0 }
        if metric == "loss" { return Int64.random(in: 0...100_000, using: &random) }
        // Up to a terabit per second, or an hour.
        let magnitude = Int.random(in: 1...(metric == "throughput" ? 29 : 31), using: &random)
        return Int64.random(in: 1...1 << magnitude, using: &random)
    }

    /// Few different ones, so that one time brings several of them to the same cell.
    private mutating func context() -> SampleContext {
        var context = SampleContext()
        if random.chance(50) { context.networkType = random.chance(50) ? "wifi" : "ethernet" }
        if random.chance(50) { context.isp = "Example \(Int.random(in: 1...3, using: &random))" }
        if random.chance(50) { context.region = random.chance(50) ? "eu-west" : "eu-ost-ä" }
        if random.chance(50) { context.resolver = "192.0.2.53" }
        if random.chance(50) { context.sourceIP = "192.0.2.7" }
        if random.chance(50) { context.asn = Int64.random(in: 64_500...64_502, using: &random) }
        return context
    }

    private static func identifier(_ random: inout SeededGenerator) -> String {
        let hex = (0..<2).map { _ in
            let text = String(random.next(), radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }.joined()
        let ends = [8, 12, 16, 20, 32]
        return zip([0] + ends, ends).map { start, end in
            String(hex.dropFirst(start).prefix(end - start))
        }.joined(separator: "-")
    }
}

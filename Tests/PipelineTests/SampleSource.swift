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
        let index = Int.random(in: probes.indices, using: &random)
        // A probe's restart, and numbers that are never sent.
        if random.chance(1) {
            probes[index].session = Self.identifier(&random)
            probes[index].number = 0
        }
        probes[index].number += random.chance(2) ? Int64.random(in: 2...4, using: &random) : 1
        let probe = probes[index]
        var thousandths: [String: Int64] = [:]
        for metric in Sample.metrics where random.chance(70) {
            thousandths[metric] = Int64.random(in: 1...900_000, using: &random)
        }
        let minute: Int64 = 60_000
        let age =
            random.chance(10)
            ? Int64.random(in: 0...5 * 60 * minute, using: &random)
            : Int64.random(in: 0...2 * minute, using: &random)
        return Sample(
            eventID: Self.identifier(&random), client: probe.client,
            target: "https://t\(Int.random(in: 0..<3, using: &random)).example",
            measuredAtMilliseconds: now - age, thousandths: thousandths,
            errorStage: random.chance(15) ? Sample.stages.randomElement(using: &random) : nil,
            numbered: probe.isNumbered
                ? .init(session: probe.session, number: probe.number) : nil)
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

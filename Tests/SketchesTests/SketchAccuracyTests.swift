import Foundation
import Sketches
import Telemetry
import TestKit
import Testing

enum Distribution: CaseIterable {
    case uniform, exponential, pareto, twoPeaks, constant, smallIntegers, wide

    func value(_ random: inout SeededGenerator) -> UInt64 {
        let unit = Double.random(in: 0..<1, using: &random)
        switch self {
        case .uniform: return UInt64(unit * 1e9)
        case .exponential: return UInt64(1e7 * -log(1 - unit))
        case .pareto: return UInt64(min(1e6 / pow(1 - unit, 1.2), 3.6e12))
        case .twoPeaks: return unit < 0.7 ? UInt64(1e7 + unit * 1e5) : UInt64(5e8 + unit * 1e8)
        case .constant: return 25_700_000
        case .smallIntegers: return UInt64(unit * 40)
        case .wide: return UInt64(pow(10, unit * 12.5))
        }
    }
}

/// The value of rank ⌈q·n⌉: PostgreSQL's `percentile_disc`.
func exactQuantile(_ q: Double, of sorted: [UInt64]) -> UInt64 {
    sorted[max(0, Int((q * Double(sorted.count)).rounded(.up)) - 1)]
}

private let quantiles = [0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1]

@Test(arguments: Distribution.allCases, [1, 2, 3, 6, 12, 100, 1000, 20_000])
func `every quantile is within one percent of the exact one`(
    distribution: Distribution, size: Int
) throws {
    for seed in UInt64(1)...5 {
        var random = SeededGenerator(seed: seed)
        let values = (0..<size).map { _ in distribution.value(&random) }
        var sketch = QuantileSketch()
        for value in values { sketch.insert(MetricValue(millionths: value)) }
        let sorted = values.sorted()
        #expect(sketch.count == UInt64(size))
        for q in quantiles {
            let exact = Double(exactQuantile(q, of: sorted))
            let answer = try #require(sketch.quantile(q))
            #expect(abs(answer - exact) <= 0.01 * exact, "seed \(seed), q \(q)")
        }
    }
}

@Test(arguments: Distribution.allCases)
func `merging in any order and grouping gives the same bits`(distribution: Distribution) {
    for seed in UInt64(1)...20 {
        var random = SeededGenerator(seed: seed)
        let values = (0..<500).map { _ in distribution.value(&random) }
        var whole = QuantileSketch()
        for value in values { whole.insert(MetricValue(millionths: value)) }

        var parts = (0..<7).map { _ in QuantileSketch() }
        for value in values.shuffled(using: &random) {
            parts[Int.random(in: 0..<7, using: &random)].insert(MetricValue(millionths: value))
        }
        parts.shuffle(using: &random)
        var leftToRight = QuantileSketch()
        for part in parts { leftToRight.merge(part) }
        var tree = parts[0]
        var rest = parts[3]
        rest.merge(parts[4])
        rest.merge(parts[5])
        rest.merge(parts[6])
        let before = rest
        tree.merge(parts[1])
        tree.merge(parts[2])
        tree.merge(rest)
        #expect(leftToRight.elements == whole.elements, "seed \(seed)")
        #expect(tree.elements == whole.elements, "seed \(seed)")
        #expect(rest == before, "merging leaves the argument as it was")
    }
}

@Test func `an empty sketch has no quantile`() {
    #expect(QuantileSketch().quantile(0.5) == nil)
    #expect(QuantileSketch().count == 0)
}

@Test(arguments: [-0.1, 1.1, Double.nan])
func `a share outside of 0 to 1 has no quantile`(q: Double) {
    var sketch = QuantileSketch()
    sketch.insert(MetricValue(millionths: 5))
    #expect(sketch.quantile(q) == nil)
}

@Test func `billions of counts stay exact`() throws {
    var sketch = QuantileSketch()
    sketch.insert(MetricValue(millionths: 1_000_000), count: 3_000_000_000)
    sketch.insert(MetricValue(millionths: 9_000_000), count: 1_000_000_000)
    #expect(sketch.count == 4_000_000_000)
    let p75 = try #require(sketch.quantile(0.75))
    let p76 = try #require(sketch.quantile(0.76))
    #expect(abs(p75 - 1e6) <= 1e4)
    #expect(abs(p76 - 9e6) <= 9e4)
}

@Test func `a sketch survives its stored form, and other forms are refused`() {
    var sketch = QuantileSketch()
    for value in [0, 1, 5, 5, 1_000_000] as [UInt64] {
        sketch.insert(MetricValue(millionths: value))
    }
    #expect(QuantileSketch(elements: sketch.elements) == sketch)
    #expect(QuantileSketch(elements: [2 << 40 | 1, 1 << 40 | 1]) == nil)
    #expect(QuantileSketch(elements: [1 << 40 | 1, 1 << 40 | 1]) == nil)
    #expect(QuantileSketch(elements: [1 << 40]) == nil)
    #expect(QuantileSketch(elements: [4000 << 40 | 1]) == nil)
    #expect(QuantileSketch(elements: [UInt64.max]) == nil)
}

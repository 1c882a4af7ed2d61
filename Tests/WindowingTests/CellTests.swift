import Sketches
import Telemetry
import TestKit
import Testing
import Windowing

@Test(arguments: 0..<20 as Range<UInt64>)
func `a cell says of each metric what separate sketches say`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    var cell = Cell()
    var summaries: [Metric: MetricSummary] = [:]
    var sketches: [Metric: QuantileSketch] = [:]
    for _ in 0..<Int(random.next() % 300) {
        cell.count(errorStage: nil, isLate: false)
        let metrics = random.metrics()
        // Few metrics in some cells, so that one begins behind another that has values already.
        for metric in Metric.allCases where random.chance(seed % 2 == 0 ? 10 : 90) {
            guard let value = metrics[metric] else { continue }
            // Values that repeat share a bin.
            let near = random.chance(50) ? MetricValue(millionths: value.millionths % 7) : value
            cell.insert(near, of: metric)
            summaries[metric, default: MetricSummary()].insert(near)
            sketches[metric, default: QuantileSketch()].insert(near)
        }
    }
    var parts = Cell.Parts(
        total: cell.total, success: cell.success, error: 0, late: 0, errorsByStage: [:],
        metrics: [:], context: NetworkContext(), contextMeasuredAtMilliseconds: nil)
    for metric in Metric.allCases {
        let summary = summaries[metric] ?? MetricSummary()
        let sketch = sketches[metric] ?? QuantileSketch()
        #expect(cell.summary(of: metric) == summary)
        #expect(cell.sketchElements(of: metric) == sketch.elements)
        guard summary.count > 0 else {
            #expect(cell.quantile(0.5, of: metric) == nil)
            continue
        }
        parts.metrics[metric] = (summary, sketch.elements)
        for q in [0, 0.5, 0.95, 1] {
            let minimum = try #require(summary.minimum).millionths
            let maximum = try #require(summary.maximum).millionths
            let expected = try #require(sketch.quantile(q))
            let clamped = min(max(expected, Double(minimum)), Double(maximum))
            #expect(cell.quantile(q, of: metric) == clamped)
        }
    }
    #expect(Cell(parts) == cell)
}

@Test func `a cell remembers errors by stage, and forgets none when it is read again`() {
    var cell = Cell()
    cell.count(errorStage: .tls, isLate: true)
    cell.count(errorStage: .tls, isLate: false)
    cell.count(errorStage: .dns, isLate: false)
    cell.count(errorStage: nil, isLate: false)
    #expect(cell.errors(at: .tls) == 2)
    #expect(cell.errors(at: .http) == 0)
    let parts = Cell.Parts(
        total: 4, success: 1, error: 3, late: 1,
        errorsByStage: [.dns: 1, .tcp: 0, .tls: 2, .http: 0, .throughput: 0], metrics: [:],
        context: NetworkContext(), contextMeasuredAtMilliseconds: nil)
    #expect(Cell(parts) == cell)
}

@Test func `a sum stays at the largest bigint`() throws {
    let largest = MetricValue(millionths: UInt64(Int64.max))
    var cell = Cell()
    cell.insert(largest, of: .total)
    cell.insert(largest, of: .total)
    #expect(cell.summary(of: .total).sum == .max)
}

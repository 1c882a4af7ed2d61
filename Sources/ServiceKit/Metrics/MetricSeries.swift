internal import CoreMetrics
internal import Synchronization

/// A counter of whole things: one atomic addition per increment.
final class CounterSeries: CounterHandler {
    private let count = Atomic<Int64>(0)

    var value: Int64 { count.load(ordering: .relaxed) }

    func increment(by amount: Int64) { count.wrappingAdd(amount, ordering: .relaxed) }

    func reset() { count.store(0, ordering: .relaxed) }
}

/// A number in an atomic word.
final class AtomicDouble: Sendable {
    private let bits: Atomic<UInt64>

    init(_ value: Double = 0) { bits = Atomic(value.bitPattern) }

    var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }

    func store(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }

    func add(_ amount: Double) {
        var seen = bits.load(ordering: .relaxed)
        while true {
            let sum = (Double(bitPattern: seen) + amount).bitPattern
            let (exchanged, original) = bits.weakCompareExchange(
                expected: seen, desired: sum, ordering: .relaxed)
            if exchanged { return }
            seen = original
        }
    }
}

/// A counter of parts of things, such as seconds.
final class FloatingPointCounterSeries: FloatingPointCounterHandler {
    private let count = AtomicDouble()

    var value: Double { count.value }

    func increment(by amount: Double) {
        // A counter that is NaN once stays so for ever.
        guard amount.isFinite, amount >= 0 else { return }
        count.add(amount)
    }

    func reset() { count.store(0) }
}

/// A value that goes up and down. It has no value, and is not shown, until one is set.
final class GaugeSeries: MeterHandler, RecorderHandler {
    private let number = AtomicDouble(.nan)

    /// Nil until set.
    var value: Double? {
        let value = number.value
        return value.isNaN ? nil : value
    }

    func set(_ value: Int64) { number.store(Double(value)) }
    func set(_ value: Double) { number.store(value) }
    func increment(by amount: Double) { add(amount) }
    func decrement(by amount: Double) { add(-amount) }
    func record(_ value: Int64) { number.store(Double(value)) }
    func record(_ value: Double) { number.store(value) }

    private func add(_ amount: Double) {
        guard amount.isFinite else { return }
        if value == nil { number.store(0) }
        number.add(amount)
    }
}

/// How often values fell into each of a few ranges. Timers are recorded in seconds.
final class HistogramSeries: TimerHandler, RecorderHandler {
    /// Upper bounds, ascending; values beyond the last fall into a bucket of their own.
    let bounds: [Double]
    private let counts: [CounterSeries]
    private let total = AtomicDouble()

    init(bounds: [Double]) {
        precondition(
            bounds.allSatisfy(\.isFinite) && zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 },
            "bucket bounds must be finite and ascending")
        self.bounds = bounds
        counts = (0...bounds.count).map { _ in CounterSeries() }
    }

    /// One count per bound and one beyond, and the sum of all values.
    var snapshot: (counts: [Int64], sum: Double) { (counts.map(\.value), total.value) }

    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
    func record(_ value: Int64) { record(Double(value)) }

    func record(_ value: Double) {
        guard value.isFinite else { return }
        // A bucket holds what is at most its bound; there are about a dozen of them.
        let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
        counts[bucket].increment(by: 1)
        total.add(value)
    }
}

/// What stands in for series beyond the limit: counts how often they were used.
final class OverflowSeries: CounterHandler, FloatingPointCounterHandler, MeterHandler,
    RecorderHandler, TimerHandler
{
    private let folded: CounterSeries

    init(counting folded: CounterSeries) { self.folded = folded }

    func increment(by amount: Int64) { folded.increment(by: 1) }
    func increment(by amount: Double) { folded.increment(by: 1) }
    func decrement(by amount: Double) { folded.increment(by: 1) }
    func set(_ value: Int64) { folded.increment(by: 1) }
    func set(_ value: Double) { folded.increment(by: 1) }
    func record(_ value: Int64) { folded.increment(by: 1) }
    func record(_ value: Double) { folded.increment(by: 1) }
    func recordNanoseconds(_ duration: Int64) { folded.increment(by: 1) }
    func reset() {}
}

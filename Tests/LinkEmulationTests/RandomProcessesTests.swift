import TestKit
import Testing

@testable import LinkEmulation

@Suite struct RandomProcessesTests {
    @Test(arguments: [0.001, 0.01, 0.05, 0.5], [1, 2, 3] as [UInt64])
    func `independent loss is within the binomial error`(probability: Double, seed: UInt64) {
        let count = 100_000
        let lost = losses(.independent(probability), seed: seed, count: count).count { $0 }
        let expected = Double(count) * probability
        let error = (expected * (1 - probability)).squareRoot()
        #expect(abs(Double(lost) - expected) < 4 * error, "\(lost) instead of \(expected)")
    }

    @Test func `the same seed loses the same packets, and another one others`() {
        let first = losses(.independent(0.1), seed: 7, count: 1000)
        #expect(losses(.independent(0.1), seed: 7, count: 1000) == first)
        #expect(losses(.independent(0.1), seed: 8, count: 1000) != first)
    }

    @Test func `a lossless time in between shifts no later loss`() {
        let always = losses(.independent(0.1), seed: 7, count: 1000)
        var process = LossProcess(seed: 7)
        let sometimes = (0..<1000).map {
            process.losesNext((300..<400).contains($0) ? .none : .independent(0.1))
        }
        #expect(sometimes[..<300] == always[..<300])
        #expect(sometimes[300..<400].allSatisfy { !$0 })
        #expect(sometimes[400...] == always[400...])
    }

    @Test func `probabilities of nought and one are never and always`() {
        #expect(losses(.none, seed: 1, count: 1000).allSatisfy { !$0 })
        #expect(losses(.independent(0), seed: 1, count: 1000).allSatisfy { !$0 })
        #expect(losses(.independent(1), seed: 1, count: 1000).allSatisfy { $0 })
        #expect(losses(.all, seed: 1, count: 1000).allSatisfy { $0 })
    }

    @Test(arguments: [(0.01, 4.0), (0.05, 10.0), (0.2, 2.0)], [1, 2, 3] as [UInt64])
    func `bursts have the mean length and the share that were asked for`(
        model: (loss: Double, length: Double), seed: UInt64
    ) {
        let count = 400_000
        let bursts = Loss.bursts(GilbertElliott(meanLoss: model.loss, meanLength: model.length))
        let lost = losses(bursts, seed: seed, count: count)
        let lengths = lost.split(separator: false).map { Double($0.count) }
        let mean = lengths.reduce(0, +) / Double(lengths.count)
        // Lengths are geometric: their standard deviation is sqrt(L (L - 1)).
        let deviation = (model.length * (model.length - 1)).squareRoot()
        let error = deviation / Double(lengths.count).squareRoot()
        #expect(abs(mean - model.length) < 4 * error, "\(mean) instead of \(model.length)")
        let share = Double(lost.count { $0 }) / Double(count)
        // Losses come together, so the share varies as if there were fewer packets.
        let shareError =
            (model.loss * (1 - model.loss) * 2 * model.length / Double(count)).squareRoot()
        #expect(abs(share - model.loss) < 4 * shareError, "\(share) instead of \(model.loss)")
    }

    @Test func `each state of Gilbert and Elliott loses its own share`() {
        let model = GilbertElliott(
            goodToBad: 0.01, badToGood: 0.04, lossInGood: 0.02, lossInBad: 0.5)
        let count = 400_000
        let lost = losses(.bursts(model), seed: 11, count: count).count { $0 }
        // A fifth of the time is bad.
        let expected = 0.8 * 0.02 + 0.2 * 0.5
        #expect(abs(Double(lost) / Double(count) - expected) < 0.005)
    }

    @Test func `uniform jitter has its width and mean`() {
        let milliseconds = deviations(.uniform(.milliseconds(10)), count: 20_000)
        #expect(milliseconds.allSatisfy { (-10...10).contains($0) })
        #expect(abs(mean(milliseconds)) < 4 * 10 / 3.0.squareRoot() / 20_000.0.squareRoot())
        #expect((milliseconds.max() ?? 0) > 9.9 && (milliseconds.min() ?? 0) < -9.9)
    }

    @Test func `normal jitter has its mean and standard deviation`() {
        let milliseconds = deviations(.normal(standardDeviation: .milliseconds(5)), count: 20_000)
        let variance = mean(milliseconds.map { $0 * $0 })
        #expect(abs(mean(milliseconds)) < 4 * 5 / 20_000.0.squareRoot())
        #expect(abs(variance.squareRoot() - 5) < 0.15)
    }

    @Test func `quantiles are interpolated between and never left`() {
        let table = Jitter.quantiles([.milliseconds(-2), .milliseconds(0), .milliseconds(8)])
        let milliseconds = deviations(table, count: 20_000)
        #expect(milliseconds.allSatisfy { (-2...8).contains($0) })
        #expect(abs(Double(milliseconds.count { $0 < 0 }) / 20_000 - 0.5) < 0.02)
        #expect(abs(mean(milliseconds) - 1.5) < 0.15)
        #expect(deviations(.quantiles([.milliseconds(3)]), count: 10).allSatisfy { $0 == 3 })
    }

    private func losses(_ loss: Loss, seed: UInt64, count: Int) -> [Bool] {
        var process = LossProcess(seed: seed)
        return (0..<count).map { _ in process.losesNext(loss) }
    }

    private func deviations(_ jitter: Jitter, count: Int) -> [Double] {
        var generator = SeededGenerator(seed: 5)
        return (0..<count).map { _ in generator.deviation(jitter) / .milliseconds(1) }
    }

    private func mean(_ values: [Double]) -> Double {
        values.reduce(0, +) / Double(values.count)
    }
}

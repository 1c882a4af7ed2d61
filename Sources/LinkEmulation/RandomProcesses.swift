internal import Glibc
internal import TestKit

/// The decisions of one direction, which are a function of a seed and of nothing else: the n-th packet to be decided on
/// has the same fate in every run, whatever the time and the other settings. Each kind of decision draws from a sequence of
/// its own.
struct RandomProcesses: Sendable {
    var loss: LossProcess
    var duplication: SeededGenerator
    var reordering: SeededGenerator
    var jitter: SeededGenerator

    init(seed: UInt64) {
        var seeds = SeededGenerator(seed: seed)
        loss = LossProcess(seed: seeds.next())
        duplication = SeededGenerator(seed: seeds.next())
        reordering = SeededGenerator(seed: seeds.next())
        jitter = SeededGenerator(seed: seeds.next())
    }
}

/// Which of a sequence of packets are lost.
package struct LossProcess: Sendable {
    private var generator: SeededGenerator
    private var isBad = false

    package init(seed: UInt64) {
        generator = SeededGenerator(seed: seed)
    }

    /// Whether the next packet is lost. Two numbers are drawn for each, so that a change of the settings in between
    /// shifts nothing.
    package mutating func losesNext(_ loss: Loss) -> Bool {
        let fate = generator.unit()
        let change = generator.unit()
        switch loss {
        case .none:
            return false
        case .all:
            return true
        case .independent(let probability):
            return fate < probability
        case .bursts(let model):
            let isLost = fate < (isBad ? model.lossInBad : model.lossInGood)
            if change < (isBad ? model.badToGood : model.goodToBad) {
                isBad.toggle()
            }
            return isLost
        }
    }
}

extension SeededGenerator {
    /// A number in 0 ..< 1 with the 53 bits that a `Double` holds.
    mutating func unit() -> Double {
        Double(next() >> 11) * 0x1p-53
    }

    /// Whether something happens that has this probability.
    mutating func happens(_ probability: Double) -> Bool {
        unit() < probability
    }

    /// How far the next packet deviates from the delay.
    mutating func deviation(_ jitter: Jitter) -> Duration {
        let first = unit()
        let second = unit()
        switch jitter {
        case .none:
            return .zero
        case .uniform(let width):
            return width * (2 * first - 1)
        case .normal(let standardDeviation):
            // Box and Muller 1958; 1 - first is never zero.
            return standardDeviation * ((-2 * log(1 - first)).squareRoot() * cos(2 * .pi * second))
        case .quantiles(let table):
            guard let last = table.last else { return .zero }
            let position = first * Double(table.count - 1)
            let below = Int(position)
            guard below + 1 < table.count else { return last }
            return table[below] + (table[below + 1] - table[below]) * (position - Double(below))
        }
    }
}

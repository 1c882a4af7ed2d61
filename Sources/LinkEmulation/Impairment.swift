/// What one direction of a link does to the packets that it carries, in the order of these settings.
///
/// A packet first waits for the bottleneck (``rate``, ``queue``). When its last bit has left, it is on the wire, where
/// it can be lost, doubled, delayed and overtaken. A packet that is lost has thus used up capacity.
package struct Impairment: Sendable, Equatable {
    /// Bits of IP packets, headers included, per second; nil is without limit. A packet begins when the one before it has
    /// ended: there is no burst above the rate.
    package var rate: UInt64? {
        didSet { checkRate(rate) }
    }
    /// What may wait for the bottleneck; the rest is dropped on arrival (tail drop).
    package var queue: Queue
    package var loss: Loss
    /// The share of packets that arrive twice, one right after the other, in 0...1.
    package var duplication: Double {
        didSet { checkProbability(duplication) }
    }
    /// How long a packet travels; nothing arrives earlier, but for what ``jitter`` takes off.
    package var delay: Duration {
        didSet { checkDelay(delay) }
    }
    /// What varies the delay. Packets keep their order: one that would overtake arrives right behind its predecessor,
    /// so between packets that are closer together than the jitter is wide, the variation is less and the mean more.
    package var jitter: Jitter
    package var reordering: Reordering

    /// A direction with these settings; without any, it hands on all packets at once.
    package init(
        delay: Duration = .zero, jitter: Jitter = .none, loss: Loss = .none,
        duplication: Double = 0, reordering: Reordering = .none, rate: UInt64? = nil,
        queue: Queue = Queue()
    ) {
        checkDelay(delay)
        checkRate(rate)
        checkProbability(duplication)
        self.delay = delay
        self.jitter = jitter
        self.loss = loss
        self.duplication = duplication
        self.reordering = reordering
        self.rate = rate
        self.queue = queue
    }

    /// How much may wait for the bottleneck, the packet that is leaving included. Without a rate nothing waits.
    package struct Queue: Sendable, Equatable {
        package let packets: Int
        package let bytes: Int

        /// The default is what Linux gives a device, and no limit in bytes.
        package init(packets: Int = 1000, bytes: Int = .max) {
            precondition(packets > 0 && bytes > 0, "a queue without room lets nothing pass")
            self.packets = packets
            self.bytes = bytes
        }
    }

    /// Which packets are held back, so that those behind overtake them.
    package struct Reordering: Sendable, Equatable {
        package static let none = Reordering(probability: 0, extraDelay: .zero)

        package let probability: Double
        package let extraDelay: Duration

        /// Each packet is held back for `extraDelay` with `probability`, in 0...1, independently of all others.
        package init(probability: Double, extraDelay: Duration) {
            checkProbability(probability)
            checkDelay(extraDelay)
            self.probability = probability
            self.extraDelay = extraDelay
        }
    }
}

/// Which packets are lost on the wire.
package enum Loss: Sendable, Equatable {
    case none
    case all
    /// Each with the same probability, in 0...1, independently of all others.
    case independent(Double)
    case bursts(GilbertElliott)
}

/// Loss that comes in bursts: a wire that is in a good or a bad state, and changes between them at random after each
/// packet (Gilbert 1960, Elliott 1963). It begins in the good one.
package struct GilbertElliott: Sendable, Equatable {
    /// The probability, in 0...1, that the state turns bad after a packet in the good one, and the other way round.
    package let goodToBad: Double
    package let badToGood: Double
    /// The probability, in 0...1, that a packet is lost in each state.
    package let lossInGood: Double
    package let lossInBad: Double

    package init(
        goodToBad: Double, badToGood: Double, lossInGood: Double = 0, lossInBad: Double = 1
    ) {
        [goodToBad, badToGood, lossInGood, lossInBad].forEach(checkProbability)
        self.goodToBad = goodToBad
        self.badToGood = badToGood
        self.lossInGood = lossInGood
        self.lossInBad = lossInBad
    }

    /// Bursts in which everything is lost, with `meanLength` packets, 1 or more, and `meanLoss` of all packets, below 1.
    package init(meanLoss: Double, meanLength: Double) {
        precondition(meanLoss < 1 && meanLength >= 1, "bursts end, and have a packet at least")
        let badToGood = 1 / meanLength
        self.init(goodToBad: badToGood * meanLoss / (1 - meanLoss), badToGood: badToGood)
    }
}

/// How the delay of packets varies around the one that is set. The sum is never below zero.
package enum Jitter: Sendable, Equatable {
    case none
    /// Every deviation of at most this much, earlier or later, is equally likely.
    case uniform(Duration)
    /// A normal distribution around the delay.
    case normal(standardDeviation: Duration)
    /// Measured deviations: equidistant quantiles, the least first, between which it is interpolated. Not empty.
    case quantiles([Duration])
}

private func checkDelay(_ value: Duration) {
    precondition(value >= .zero, "a packet cannot arrive before it is sent")
}

private func checkRate(_ value: UInt64?) {
    precondition(value != 0, "a link that stands still loses everything: use Loss.all")
}

private func checkProbability(_ value: Double) {
    precondition((0...1).contains(value), "\(value) is not a probability")
}

/// How long to wait before the next attempt: a growing ceiling, and chance below it.
///
/// A pure value: it neither sleeps nor draws random numbers of its own, so a simulation can
/// replay it. Full jitter, the default, spreads clients that failed together over the whole span
/// (Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015).
package struct Backoff: Sendable, Equatable {
    /// The ceiling of the first delay.
    package let initial: Duration
    /// The ceiling that no delay exceeds.
    package let maximum: Duration
    /// By how much the ceiling grows with each attempt; 1 to 1000.
    package let multiplier: Double
    /// The part of the ceiling that is left to chance: 1 for a delay anywhere between zero and the
    /// ceiling, 0 for exactly the ceiling.
    package let jitter: Double

    /// Delays handed out since the start or the last ``reset()``.
    package private(set) var attempts = 0
    private var ceiling: Duration

    package init(
        initial: Duration, maximum: Duration, multiplier: Double = 2, jitter: Double = 1
    ) {
        precondition(initial > .zero && maximum >= initial, "delays must be positive and ordered")
        precondition((1...1000).contains(multiplier), "the multiplier must be between 1 and 1000")
        precondition((0...1).contains(jitter), "the jitter must be between 0 and 1")
        self.initial = initial
        self.maximum = maximum
        self.multiplier = multiplier
        self.jitter = jitter
        ceiling = initial
    }

    /// The next delay, which is at most ``maximum``; the one after it may be longer.
    package mutating func next(using generator: inout some RandomNumberGenerator) -> Duration {
        let chance = jitter > 0 ? Double.random(in: 0...1, using: &generator) * jitter : 0
        let delay = ceiling * (1 - jitter + chance)
        attempts += 1
        ceiling = min(maximum, ceiling * multiplier)
        return min(maximum, max(.zero, delay))
    }

    /// Starts over, after a success.
    package mutating func reset() {
        attempts = 0
        ceiling = initial
    }
}

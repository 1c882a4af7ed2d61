internal import Glibc
internal import Telemetry

extension Schedule {
    /// How a target's measurements lie in time.
    package enum Spacing: String, Sendable, CaseIterable {
        /// At fixed moments of the wall clock: multiples of the interval plus a phase made of the client's and
        /// the target's names.
        case phase
        /// With exponentially distributed gaps around the interval, so that nothing periodic in the network can
        /// hide between measurements or coincide with all of them (RFC 2330, section 11.1.1).
        case poisson

        /// The shortest and the longest of Poisson's gaps, in intervals, as a gap of nothing would put two
        /// measurements on top of each other and an endless one would look like an outage.
        static let poissonBounds = 0.1...4.0

        /// A gap of Poisson spacing around `interval`.
        ///
        /// The mean of the clamped distribution is 0.1 + e^−0.1 − e^−4 = 0.9865 of the parameter, which is
        /// made up for, so that the mean is the interval.
        static func poissonGap(
            around interval: Duration, using generator: inout some RandomNumberGenerator
        ) -> Duration {
            // In (0, 1], so the logarithm is finite.
            let uniform = 1 - Double.random(in: 0..<1, using: &generator)
            let clamped = min(
                max(-log(uniform), poissonBounds.lowerBound), poissonBounds.upperBound)
            return interval * (clamped / clampedMean)
        }

        private static let clampedMean =
            poissonBounds.lowerBound + exp(-poissonBounds.lowerBound)
            - exp(-poissonBounds.upperBound)
    }
}

internal import Glibc
internal import Transport

extension EchoTrain {
    /// The longest gap of Poisson spacing, in means; one in 22,000 would be longer.
    private static let meansMax = 10.0

    /// The gaps between the train's packets, one fewer than there are packets.
    ///
    /// Poisson spacing draws them from the exponential distribution (RFC 2330, section 11.1.1), cut off at ten means so
    /// that a train has a longest length.
    package func gaps(using generator: inout some RandomNumberGenerator) -> [Duration] {
        (1..<max(1, count)).map { _ in
            switch spacing {
            case .periodic: return gap
            case .poisson:
                // Of (0, 1], so that the logarithm is finite.
                let uniform = 1 - Double.random(in: 0..<1, using: &generator)
                let means = min(Self.meansMax, -log(uniform))
                return .nanoseconds(Int64(means * Double(gap.wholeNanoseconds)))
            }
        }
    }
}

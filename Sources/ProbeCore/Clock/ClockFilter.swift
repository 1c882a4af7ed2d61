package import Transport

/// Chooses the best of the last exchanges (RFC 5905, section 10: the clock filter).
///
/// A pure value. Exchanges that cannot be true together with the estimate are set apart, and replace it when they are
/// several in a row: then the server's clock was set, or it is another server.
package struct ClockFilter: Sendable {
    /// The exchanges that are remembered (NSTAGE of RFC 5905).
    package static let exchangeCountMax = 8
    /// So many contradictions in a row outweigh what is known.
    package static let contradictionCountMax = 3

    /// What became of an exchange.
    package enum Judgement: Sendable, Equatable {
        case agreed
        /// It cannot be true together with the estimate, which stays for now.
        case contradicted
        /// With those before it, it has replaced the estimate.
        case replaced
    }

    /// By age; never of two minds.
    private var exchanges: [ClockEstimate] = []
    /// The latest, all of which contradict the estimate.
    private var contradictions: [ClockEstimate] = []

    package init() {}

    /// What is remembered of an earlier run in the same boot.
    package init(known estimate: ClockEstimate) {
        exchanges = [estimate]
    }

    /// The estimate with the least uncertainty at a moment; nil before the first exchange.
    package func best(at moment: BoottimeInstant) -> ClockEstimate? {
        exchanges.min {
            $0.uncertaintyNanoseconds(at: moment) < $1.uncertaintyNanoseconds(at: moment)
        }
    }

    /// Takes what an exchange said.
    package mutating func add(_ estimate: ClockEstimate) -> Judgement {
        let now = estimate.until
        guard let best = best(at: now), !best.agrees(with: estimate, at: now) else {
            contradictions = []
            exchanges.append(estimate)
            if exchanges.count > Self.exchangeCountMax { exchanges.removeFirst() }
            return .agreed
        }
        // They must agree among themselves: a server that jumps about replaces nothing.
        contradictions.removeAll { !$0.agrees(with: estimate, at: now) }
        contradictions.append(estimate)
        guard contradictions.count >= Self.contradictionCountMax else { return .contradicted }
        exchanges = contradictions
        contradictions = []
        return .replaced
    }
}

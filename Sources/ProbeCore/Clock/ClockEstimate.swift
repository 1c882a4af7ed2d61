package import Transport

/// How far ingest's clock is from the clock since boot, and how well that is known.
///
/// A pure value.
package struct ClockEstimate: Sendable, Equatable {
    /// How much two clocks that nobody sets may drift apart (PHI of RFC 5905, section 4), parts per million.
    package static let driftPartsPerMillion: Int64 = 15

    /// Ingest's Unix time less the time since boot, nanoseconds.
    package let offsetNanoseconds: Int64
    /// The offset was at most this far away when it was measured, nanoseconds.
    package let halfWidthNanoseconds: Int64
    /// Between which moments it was measured.
    package let from: BoottimeInstant
    package let until: BoottimeInstant

    /// How far away the offset may be at a moment, also one before it was measured, nanoseconds: RFC 5905's root
    /// distance.
    package func uncertaintyNanoseconds(at moment: BoottimeInstant) -> Int64 {
        let age = max(moment.nanoseconds(since: from), until.nanoseconds(since: moment), 0)
        // Divided first: an age may be a machine's lifetime.
        let drift =
            (age / 1_000_000) &* Self.driftPartsPerMillion &+ (age % 1_000_000)
            &* Self.driftPartsPerMillion / 1_000_000 &+ 1
        let (sum, overflow) = halfWidthNanoseconds.addingReportingOverflow(drift)
        return overflow ? .max : sum
    }

    /// Ingest's time at a moment, Unix nanoseconds.
    package func unixNanoseconds(at moment: BoottimeInstant) -> Int64 {
        let (sum, overflow) = moment.nanoseconds.addingReportingOverflow(offsetNanoseconds)
        guard overflow else { return sum }
        return moment.nanoseconds < 0 ? .min : .max
    }

    /// Whether both can be right at a moment.
    package func agrees(with other: ClockEstimate, at moment: BoottimeInstant) -> Bool {
        let (apart, overflow) = offsetNanoseconds.subtractingReportingOverflow(
            other.offsetNanoseconds)
        let (allowed, beyond) = uncertaintyNanoseconds(at: moment).addingReportingOverflow(
            other.uncertaintyNanoseconds(at: moment))
        return beyond || !overflow && apart.magnitude <= allowed.magnitude
    }
}

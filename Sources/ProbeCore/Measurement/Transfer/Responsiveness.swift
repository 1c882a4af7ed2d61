/// Round trips per minute under load (RPM), after draft-ietf-ippm-responsiveness.
///
/// A pure value of samples in milliseconds.
package struct Responsiveness: Sendable, Equatable {
    /// How far a result can be trusted, by how much the load and the round trips still changed.
    package enum Confidence: String, Sendable {
        /// Fewer than ``intervals`` intervals.
        case low
        /// Enough intervals, and the averages still changed.
        case medium
        /// The moving averages had settled.
        case high
    }

    /// Round trips of probes on fresh connections, per minute; nil without samples.
    package let foreign: Double?
    /// Round trips of the load-carrying connections, per minute; nil without samples.
    package let own: Double?

    /// The mean of both parts; nil when one is missing.
    package var perMinute: Double? {
        guard let foreign, let own else { return nil }
        return (foreign + own) / 2
    }

    /// The moving averages span this many intervals (MAD), and as many of them are compared.
    package static let intervals = 4
    /// What the deviation of settled averages stays below, as a share of the latest (SDT).
    package static let deviationMax = 0.05
    /// The share of samples that the trimmed mean keeps, the lowest, percent (TMP).
    package static let trimmedPercent = 95

    private static let millisecondsPerMinute = 60_000.0

    /// - Parameters:
    ///   - tcp: Times of TCP handshakes on fresh connections.
    ///   - tls: Times of TLS handshakes there, each divided by its round trips; empty without TLS.
    ///   - http: Times of small requests there.
    ///   - loaded: Round-trip times of the load-carrying connections.
    package init(tcp: [Double], tls: [Double], http: [Double], loaded: [Double]) {
        // A part that was not measured is left out of the mean: it is not 0.
        let parts = [tcp, tls, http].compactMap { Self.trimmedMean($0) }
        let hasNeeded = !tcp.isEmpty && !http.isEmpty
        foreign = hasNeeded ? Self.rate(Statistics.mean(parts)) : nil
        own = Self.rate(Self.trimmedMean(loaded))
    }

    /// The mean of the lowest 95 % of the samples, at least one of them; nil of none.
    package static func trimmedMean(_ samples: [Double]) -> Double? {
        let kept = (samples.count * trimmedPercent + 99) / 100
        return Statistics.mean(Array(samples.sorted().prefix(kept)))
    }

    /// The confidence in a result, from the values of each interval: goodput, and RPM; nil where there were no samples.
    package static func confidence(goodput: [Double], perMinute: [Double?]) -> Confidence {
        let measured = perMinute.compactMap { $0 }
        guard min(goodput.count, measured.count) >= intervals else { return .low }
        return isStable(goodput) && isStable(measured) ? .high : .medium
    }

    /// Whether the last moving averages deviate little.
    private static func isStable(_ values: [Double]) -> Bool {
        let averages = values.indices.compactMap { index in
            Statistics.mean(Array(values[max(0, index + 1 - intervals)...index]))
        }
        guard let current = averages.last, averages.count >= intervals,
            let deviation = Statistics.standardDeviation(Array(averages.suffix(intervals)))
        else { return false }
        return deviation < deviationMax * current
    }

    private static func rate(_ milliseconds: Double?) -> Double? {
        guard let milliseconds, milliseconds > 0 else { return nil }
        return millisecondsPerMinute / milliseconds
    }
}

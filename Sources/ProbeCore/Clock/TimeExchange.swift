package import Transport

/// A question and its answer by which two clocks are compared (RFC 5905, section 8).
///
/// The probe's moments are of its clock since boot, the server's are Unix time.
package struct TimeExchange: Sendable, Equatable {
    /// T1: just before the request was written.
    package let asked: BoottimeInstant
    /// T2: after the request had begun to arrive, Unix nanoseconds, rounded down.
    package let serverReceived: Int64
    /// T3: before the answer was written, Unix nanoseconds, rounded down.
    package let serverSent: Int64
    /// T4: just after the answer had begun to arrive.
    package let answered: BoottimeInstant
    /// By how much T2 and T3 may have been rounded, nanoseconds.
    package let resolution: Int64

    package init(
        asked: BoottimeInstant, serverReceived: Int64, serverSent: Int64,
        answered: BoottimeInstant, resolution: Int64
    ) {
        self.asked = asked
        self.serverReceived = serverReceived
        self.serverSent = serverSent
        self.answered = answered
        self.resolution = resolution
    }

    /// What the exchange says; nil when its moments cannot be, as when the server's clock was set in between.
    ///
    /// T2 − T1 exceeds the true offset by the time of the request's way and T3 − T4 falls short of it by that of the answer's, whatever
    /// share of the delay each had: the offset lies between the two, and half the delay on both sides of their middle.
    package var estimate: ClockEstimate? {
        guard let most = Self.difference(serverReceived, asked),
            let least = Self.difference(serverSent, answered),
            answered >= asked, serverSent >= serverReceived, resolution >= 0
        else { return nil }
        let (delay, overflow) = most.subtractingReportingOverflow(least)
        // Rounding alone can make a delay seem to be less than none.
        guard !overflow, delay >= -resolution, resolution <= .max / 4 else { return nil }
        let half = max(0, delay) / 2
        return ClockEstimate(
            offsetNanoseconds: least + delay / 2, halfWidthNanoseconds: half &+ resolution,
            from: asked, until: answered)
    }

    private static func difference(_ server: Int64, _ probe: BoottimeInstant) -> Int64? {
        let (difference, overflow) = server.subtractingReportingOverflow(probe.nanoseconds)
        return overflow ? nil : difference
    }
}

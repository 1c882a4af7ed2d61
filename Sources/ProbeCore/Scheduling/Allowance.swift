package import Transport

/// What may be used of something that comes back evenly: bytes of traffic, or seconds of CPU.
///
/// A pure value. It holds what comes back in ``span``, so that what was saved up can be used at once, and is
/// full at the start. More than there is may be spent, as what a measurement takes is known when it has ended;
/// that is a debt which is paid back before anything else is measured.
package struct Allowance: Sendable {
    /// What comes back within ``span``, and the most that is saved up.
    package let amount: Double
    package let span: Duration
    private var available: Double
    private var lastLook: MonotonicInstant

    package init(_ amount: Double, per span: Duration, now: MonotonicInstant) {
        precondition(amount > 0 && span > .zero, "an allowance of nothing lets nothing be measured")
        self.amount = amount
        self.span = span
        available = amount
        lastLook = now
    }

    /// What is left at `now`; negative when more was spent than there was.
    package mutating func left(at now: MonotonicInstant) -> Double {
        let returned = now.since(lastLook).inSeconds / span.inSeconds * amount
        available = min(amount, available + returned)
        lastLook = max(lastLook, now)
        return available
    }

    /// Goes on with what an earlier one had left, `elapsed` ago.
    package mutating func resume(left: Double, after elapsed: Duration) {
        available = min(amount, left + max(0, elapsed / span) * amount)
    }

    /// Takes `spent` away.
    package mutating func spend(_ spent: Double) {
        available -= spent
    }

    /// The same with another amount: what was used stays used, in its share.
    package func changed(to amount: Double, per span: Duration) -> Allowance {
        var changed = Allowance(amount, per: span, now: lastLook)
        changed.available = available / self.amount * amount
        return changed
    }
}

internal import Transport

/// A moment, and what is known about it: where all that depends on the time of day gets it from.
///
/// A pure value.
package struct ClockReading: Sendable {
    package let moment: MeasurementMoment
    /// The boot that the moment is of.
    package let boot: BootID?
    /// Nil while ingest's time is not known.
    package let estimate: ClockEstimate?

    package init(moment: MeasurementMoment, boot: BootID?, estimate: ClockEstimate?) {
        self.moment = moment
        self.boot = boot
        self.estimate = estimate
    }

    /// Ingest's time if it is known, and else the wall clock, Unix milliseconds.
    package var unixMilliseconds: Int64 {
        estimate.map { Self.milliseconds($0.unixNanoseconds(at: moment.boottime)) }
            ?? moment.wallMilliseconds
    }

    /// How far the wall clock is from ingest's at this moment; nil when that is not known.
    package var correction: ClockCorrection? { correction(of: moment) }

    /// The time of a measurement of this boot, and what was added to its wall clock if ingest's time is known.
    package func time(
        of measured: MeasurementMoment
    ) -> (time: EventTime, correction: ClockCorrection?) {
        let unix = estimate?.unixNanoseconds(at: measured.boottime)
        let time = EventTime(
            milliseconds: unix.map(Self.milliseconds) ?? measured.wallMilliseconds,
            isReference: unix != nil, boottime: measured.boottime, boot: boot)
        return (time, correction(of: measured))
    }

    /// How long ago something was, nanoseconds; nil when that is not known.
    ///
    /// The wall clock is not asked: within a boot the clock since then knows, and of an earlier boot ingest's.
    package func age(of time: EventTime) -> Int64? {
        if let boot, time.boot == boot { return moment.boottime.nanoseconds(since: time.boottime) }
        guard let estimate else { return nil }
        let now = estimate.unixNanoseconds(at: moment.boottime)
        let (nanoseconds, isBeyond) = time.milliseconds.multipliedReportingOverflow(by: 1_000_000)
        let (age, overflow) = now.subtractingReportingOverflow(nanoseconds)
        return isBeyond || overflow ? (time.milliseconds < 0 ? .max : .min) : age
    }

    /// Whether something is known to be longer ago than `limit`.
    package func isOlder(_ time: EventTime, than limit: Duration) -> Bool {
        age(of: time).map { $0 > limit.wholeNanoseconds } ?? false
    }

    /// Whether an event has the wall clock's time although its true one can be told, or may be told later.
    package func isCorrectable(_ time: EventTime) -> Bool {
        boot != nil && time.boot == boot && !time.isReference
    }

    /// The event with ingest's time where it was spooled with the wall clock's and the true one is known by now.
    package func corrected(_ event: SpooledEvent) -> SpooledEvent {
        guard isCorrectable(event.time), estimate != nil else { return event }
        let (wall, overflow) = event.time.milliseconds.multipliedReportingOverflow(by: 1_000_000)
        let measured = MeasurementMoment(wallNanoseconds: wall, boottime: event.time.boottime)
        let (time, correction) = time(of: measured)
        guard !overflow, let correction,
            let json = EventTimeText.replacing(
                event.time.milliseconds, with: time.milliseconds, correction, in: event.json)
        else { return event }
        return SpooledEvent(session: event.session, number: event.number, time: time, json: json)
    }

    private func correction(of measured: MeasurementMoment) -> ClockCorrection? {
        guard let estimate else { return nil }
        let unix = estimate.unixNanoseconds(at: measured.boottime)
        let (offset, overflow) = unix.subtractingReportingOverflow(measured.wallNanoseconds)
        guard !overflow else { return nil }
        return ClockCorrection(
            offsetNanoseconds: offset,
            uncertaintyNanoseconds: estimate.uncertaintyNanoseconds(at: measured.boottime))
    }

    private static func milliseconds(_ nanoseconds: Int64) -> Int64 { nanoseconds / 1_000_000 }
}

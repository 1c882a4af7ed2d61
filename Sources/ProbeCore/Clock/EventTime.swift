package import Transport

/// When an event was measured, as its spool record keeps it.
package struct EventTime: Sendable, Hashable {
    /// What the event's `ts_ms` says, Unix milliseconds.
    package let milliseconds: Int64
    /// Whether that is ingest's time; else it is the wall clock as it was.
    package let isReference: Bool
    package let boottime: BoottimeInstant
    /// The boot that ``boottime`` is of; nil when it is not known.
    package let boot: BootID?

    package init(
        milliseconds: Int64, isReference: Bool, boottime: BoottimeInstant, boot: BootID?
    ) {
        self.milliseconds = milliseconds
        self.isReference = isReference
        self.boottime = boottime
        self.boot = boot
    }
}

/// What was added to the probe's own wall clock to get an event's `ts_ms`, and how far off that may be.
package struct ClockCorrection: Sendable, Hashable {
    package let offsetNanoseconds: Int64
    package let uncertaintyNanoseconds: Int64

    package init(offsetNanoseconds: Int64, uncertaintyNanoseconds: Int64) {
        self.offsetNanoseconds = offsetNanoseconds
        self.uncertaintyNanoseconds = uncertaintyNanoseconds
    }
}

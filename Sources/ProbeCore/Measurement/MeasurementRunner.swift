internal import Logging
internal import Telemetry
internal import Transport

/// Measures a target and turns what it finds into an event.
struct MeasurementRunner: Sendable {
    let dialer: Dialer
    let firstHop = FirstHopMeter()
    let numbering: EventNumbering
    let counters: ProbeCounters
    let logger: Logger
    private let told = ToldReasons()

    init(
        dialer: Dialer, numbering: EventNumbering, counters: ProbeCounters, logger: Logger
    ) {
        self.dialer = dialer
        self.numbering = numbering
        self.counters = counters
        self.logger = logger
    }

    /// Measures once; blocks for as long as that takes.
    ///
    /// - Returns: The bytes that the measurement caused, both ways.
    func run(_ target: Target, _ plan: MeasurementPlan, _ interrupt: Interrupt) -> Int {
        let traffic = TrafficCounter()
        let meters = Meters(
            dialer: dialer.counting(in: traffic), firstHop: firstHop, timeout: plan.timeout,
            bodyBytesMax: plan.bodyBytesMax, userAgent: Product.userAgent)
        switch meters.measure(target, interrupt: interrupt) {
        case .measured(let measurement):
            told.forget(target.name)
            numbering.add(measurement, of: target.name, in: plan.context)
            count(measurement.failure, of: target)
        case .notMeasured(let reason):
            // On the way down, or when the fleet is stopped, that is what was asked for.
            if !interrupt.isTriggered { countNotMade(target, reason) }
        }
        counters.bytesMeasured.add(traffic.total)
        return traffic.total
    }

    private func count(_ failure: Measurement.Failure?, of target: Target) {
        guard let failure else { return counters.measurementsSucceeded.add() }
        counters.measurementsFailed.add()
        logger.info(
            "a measurement failed",
            metadata: [
                "target": "\(target.name)", "stage": "\(failure.stage.name)",
                "reason": "\(failure.message)",
            ])
    }

    private func countNotMade(_ target: Target, _ reason: String) {
        counters.measurementsNotMade.add()
        counters.lastError = reason
        // Once, not in every slot: a permission that is missing stays missing.
        guard told.isNew(reason, of: target.name) else { return }
        logger.warning(
            "this machine could not measure; told again when the reason changes",
            metadata: ["target": "\(target.name)", "reason": "\(reason)"])
    }
}

internal import Logging
internal import Telemetry
internal import Transport

/// Measures a target and turns what it finds into an event.
struct MeasurementRunner: Sendable {
    let meters: Meters
    let numbering: EventNumbering
    let counters: ProbeCounters
    let interrupt: Interrupt
    let logger: Logger

    /// Measures once; blocks for as long as that takes.
    func run(_ target: Target) {
        switch meters.measure(target, interrupt: interrupt) {
        case .measured(let measurement):
            numbering.add(measurement, of: target.name)
            guard let failure = measurement.failure else {
                counters.measurementsSucceeded.add()
                return
            }
            counters.measurementsFailed.add()
            logger.info(
                "a measurement failed",
                metadata: [
                    "target": "\(target.name)", "stage": "\(failure.stage.name)",
                    "reason": "\(failure.message)",
                ])
        case .notMeasured(let reason):
            // On the way down that is what was asked for.
            if interrupt.isTriggered { return }
            counters.measurementsNotMade.add()
            counters.lastError = reason
            logger.warning(
                "this machine could not measure",
                metadata: ["target": "\(target.name)", "reason": "\(reason)"])
        }
    }
}

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

    /// Measures once; blocks for as long as that takes.
    ///
    /// - Returns: The bytes that the measurement caused, both ways.
    func run(_ target: Target, _ plan: MeasurementPlan, _ interrupt: Interrupt) -> Int {
        let traffic = TrafficCounter()
        defer { counters.bytesMeasured.add(traffic.total) }
        let meters = Meters(
            dialer: dialer.counting(in: traffic), firstHop: firstHop, timeout: plan.timeout,
            bodyBytesMax: plan.bodyBytesMax, userAgent: Product.userAgent)
        switch meters.measure(target, interrupt: interrupt) {
        case .measured(let measurement):
            numbering.add(measurement, of: target.name, in: plan.context)
            guard let failure = measurement.failure else {
                counters.measurementsSucceeded.add()
                return traffic.total
            }
            counters.measurementsFailed.add()
            logger.info(
                "a measurement failed",
                metadata: [
                    "target": "\(target.name)", "stage": "\(failure.stage.name)",
                    "reason": "\(failure.message)",
                ])
            return traffic.total
        case .notMeasured(let reason):
            // On the way down, or when the fleet is stopped, that is what was asked for.
            if interrupt.isTriggered { return traffic.total }
            counters.measurementsNotMade.add()
            counters.lastError = reason
            logger.warning(
                "this machine could not measure",
                metadata: ["target": "\(target.name)", "reason": "\(reason)"])
            return traffic.total
        }
    }
}

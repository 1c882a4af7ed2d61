package import Telemetry

/// What is measured, when, and how much may be used for it: all that a reload can replace.
package struct MeasurementPlan: Sendable {
    package var targets: [Target]
    /// The time between two measurements of a target that does not set its own.
    package var interval = Duration.seconds(10)
    package var spacing = Schedule.Spacing.phase
    /// For one measurement, where the target does not set its own; it may exceed the interval.
    package var timeout = Duration.seconds(10)
    /// The byte budget of one GET.
    package var bodyBytesMax = 16 << 20
    /// The most measurements at once.
    package var inFlightMax = 32
    package var quietHours = QuietHours()
    /// The most bytes that measurements may cause in a day, both ways; nil without a bound.
    package var trafficBytesPerDay: Int?
    /// The most CPU that the probe may use before it measures less, percent of one core; nil without a bound.
    package var cpuPercentMax: Double?
    /// What is known about the network.
    package var context = NetworkContext()

    package init(targets: [Target]) {
        self.targets = targets
    }

    var rhythms: [Schedule.Rhythm] {
        targets.map {
            Schedule.Rhythm(
                target: $0.name, interval: $0.interval ?? interval, spacing: $0.spacing ?? spacing)
        }
    }
}

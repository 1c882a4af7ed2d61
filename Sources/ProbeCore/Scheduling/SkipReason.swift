/// Why a target was not measured in a slot of its schedule.
package enum SkipReason: String, Sendable, CaseIterable {
    /// The slot had passed when the probe looked, as after a pause of the machine.
    case missed
    /// As many measurements as are allowed were under way.
    case busy
    /// A transfer had the link for itself.
    case transfer
    /// It is within the quiet hours.
    case quiet
    /// The fleet was told to measure nothing.
    case suppressed
    /// The day's traffic is used up, or what is left is less than this target takes.
    case traffic
    /// The probe used more CPU than it may.
    case cpu
}

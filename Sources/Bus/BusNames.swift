/// The JetStream streams of the platform.
package enum BusStream {
    /// Blocks of events, and plain JSON events that any NATS client may publish.
    package static let events = "TELEMETRY_EVENTS"
    /// Heartbeats of probes, one JSON object per message.
    package static let heartbeats = "TELEMETRY_HEARTBEATS"
    /// Messages that could not be decoded.
    package static let deadLetters = "TELEMETRY_DLQ"
    /// Incidents that open and close.
    package static let diagnoses = "TELEMETRY_DIAGNOSES"
    /// What programs tell each other about the platform itself.
    package static let control = "TELEMETRY_CONTROL"
}

/// The subjects of the platform.
package enum BusSubject {
    package static let heartbeats = "telemetry.heartbeats"
    package static let diagnoses = "telemetry.diagnoses"
    package static let allDeadLetters = "telemetry.dlq.>"
    /// Which timelines of which database cluster were seen.
    package static let databaseTimeline = "telemetry.control.database_timeline"

    /// Where the events of one partition go.
    package static func events(partition: Int) -> String {
        "telemetry.events.\(partition)"
    }
}

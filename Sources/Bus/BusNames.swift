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
    /// Orders to all probes.
    package static let fleet = "TELEMETRY_FLEET"
}

/// The subjects of the platform.
package enum BusSubject {
    package static let heartbeats = "telemetry.heartbeats"
    package static let diagnoses = "telemetry.diagnoses"
    package static let allDeadLetters = "telemetry.dlq.>"
    /// Which timelines of which database cluster were seen.
    package static let databaseTimeline = "telemetry.control.database_timeline"
    /// Whether probes are to measure nothing.
    package static let fleetSuppression = "telemetry.fleet.suppression"

    /// Where the events of one partition go.
    package static func events(partition: Int) -> String {
        "telemetry.events.\(partition)"
    }

    /// Where dead letters of one reason go; what a subject cannot hold becomes `_`.
    package static func deadLetters(reason: String) -> String {
        let token = reason.utf8.prefix(reasonBytesMax).map { byte -> Character in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                Character(UnicodeScalar(byte))
            default: "_"
            }
        }
        return "telemetry.dlq." + (token.isEmpty ? "unknown" : String(token))
    }

    /// Reasons are short names; nats-server has no use for long subjects.
    private static let reasonBytesMax = 64
}

package import Telemetry

extension Event {
    /// The event as a JSON object of schema version 1; what was not measured or is not known is absent.
    package var json: [UInt8] { json(nil, clockWasStepped: false) }

    /// The event with what was added to the wall clock for its time, if it was ingest's time.
    ///
    /// - Parameter clockWasStepped: Whether the wall clock was set while it was measured.
    package func json(_ correction: ClockCorrection?, clockWasStepped: Bool) -> [UInt8] {
        var text = JSONText()
        text.object { text in
            EventTimeText.write(measuredAtMilliseconds, correction, to: &text)
            if clockWasStepped { text.memberTrue("clock_stepped") }
            text.member("schema_version", Event.schemaVersion)
            text.member("event_id", id.description)
            text.member("client_id", clientID.text)
            text.member("target", target.text)
            if !context.isEmpty {
                text.key("network_context")
                text.object { Self.write(context, to: &$0) }
            }
            text.key("timing_measurements")
            text.object { text in
                for metric in Metric.allCases {
                    guard let value = metrics[metric] else { continue }
                    text.member(metric.jsonName, value)
                }
            }
            if let errorStage {
                text.member("error_stage", errorStage.name)
            } else {
                text.memberNull("error_stage")
            }
            if let sequence {
                text.member("session_id", sequence.session.description)
                text.member("seq", sequence.number)
            }
        }
        return text.bytes
    }

    private static func write(_ context: NetworkContext, to text: inout JSONText) {
        if let value = context.sourceIP { text.member("source_ip", value.text) }
        if let value = context.networkType { text.member("network_type", value.text) }
        if let value = context.isp { text.member("isp", value.text) }
        if let value = context.asn { text.member("asn", value) }
        if let value = context.region { text.member("region", value.text) }
        if let value = context.resolver { text.member("resolver", value.text) }
    }
}

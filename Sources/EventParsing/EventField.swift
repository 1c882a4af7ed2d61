internal import CEventParser
internal import Telemetry

/// A member of the event's JSON.
struct EventField: Hashable {
    /// The parser's number of it.
    let number: UInt8

    static let schemaVersion = EventField(EP_SCHEMA_VERSION)
    static let eventID = EventField(EP_EVENT_ID)
    static let clientID = EventField(EP_CLIENT_ID)
    static let target = EventField(EP_TARGET)
    static let timestamp = EventField(EP_TS_MS)
    static let networkContext = EventField(EP_NETWORK_CONTEXT)
    static let timingMeasurements = EventField(EP_TIMING_MEASUREMENTS)
    static let errorStage = EventField(EP_ERROR_STAGE)
    static let sessionID = EventField(EP_SESSION_ID)
    static let sequence = EventField(EP_SEQ)
    static let sourceIP = EventField(EP_SOURCE_IP)
    static let networkType = EventField(EP_NETWORK_TYPE)
    static let isp = EventField(EP_ISP)
    static let asn = EventField(EP_ASN)
    static let region = EventField(EP_REGION)
    static let resolver = EventField(EP_RESOLVER)

    init(_ number: Int) {
        self.number = UInt8(clamping: number)
    }

    init(_ metric: Metric) {
        self.init(EP_FIRST_METRIC + Int(metric.rawValue))
    }

    /// The metric this member carries, if it carries one.
    var metric: Metric? {
        let first = UInt8(clamping: EP_FIRST_METRIC)
        return number < first ? nil : Metric(rawValue: number - first)
    }

    /// The name with its parent's, as in `network_context.asn`.
    var name: String {
        unsafe String(cString: ep_field_name(number))
    }

    /// The code of an error in this member.
    var code: RejectionCode {
        switch self {
        case .schemaVersion: .invalidSchemaVersion
        case .eventID: .invalidEventID
        case .timestamp: .invalidTimestamp
        case .timingMeasurements, .errorStage: .invalidMeasurement
        default: metric == nil ? .invalidRequest : .invalidMeasurement
        }
    }

    /// What the member must be.
    var requirement: String {
        if let metric { return "a number from 0 to \(Int64(metric.maximum))" }
        return switch self {
        case .schemaVersion: "an integer of at least 1"
        case .eventID, .sessionID: "a UUID of 36 characters"
        case .clientID: Self.text(upTo: EventLimits.clientIDBytesMax)
        case .target: Self.text(upTo: EventLimits.targetBytesMax)
        case .timestamp: "an integer: Unix time in milliseconds"
        case .networkContext, .timingMeasurements: "an object"
        case .errorStage:
            "null or one of " + ErrorStage.allCases.map(\.name).joined(separator: ", ")
        case .sequence: "an integer from 1 to \(SessionSequence.maximumNumber)"
        case .asn: "an integer from 0 to \(UInt32.max)"
        default: Self.text(upTo: EventLimits.contextBytesMax, fewest: 0)
        }
    }

    private static func text(upTo most: Int, fewest: Int = 1) -> String {
        "a text of \(fewest) to \(most) bytes of UTF-8 without control characters"
    }

    /// The member is there, but is not what it must be.
    var rejection: EventRejection {
        EventRejection(code, field: name, "\(name) must be \(requirement)")
    }

    /// The member is not there, or null.
    var missing: EventRejection {
        EventRejection(code, field: name, "\(name) is required and must be \(requirement)")
    }

    /// Another error in this member; `problem` follows its name.
    func rejection(_ problem: String, code: RejectionCode? = nil) -> EventRejection {
        EventRejection(code ?? self.code, field: name, "\(name) \(problem)")
    }
}

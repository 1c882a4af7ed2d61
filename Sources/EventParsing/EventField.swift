internal import CEventParser
package import Telemetry

/// A member of the event's JSON.
package struct EventField: Hashable, Sendable {
    /// The parser's number of it.
    let number: UInt8

    static let schemaVersion = EventField(EP_SCHEMA_VERSION)
    static let eventID = EventField(EP_EVENT_ID)
    static let clientID = EventField(EP_CLIENT_ID)
    static let target = EventField(EP_TARGET)
    package static let timestamp = EventField(EP_TS_MS)
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

    /// All of them, in the parser's order.
    package static let all = (0..<Int(EP_FIELD_COUNT)).map(EventField.init)

    init(_ number: Int) {
        self.number = UInt8(clamping: number)
    }

    init(_ metric: Metric) {
        self.init(EP_FIRST_METRIC + Int(metric.rawValue))
    }

    /// The metric this member carries, if it carries one.
    package var metric: Metric? {
        let first = UInt8(clamping: EP_FIRST_METRIC)
        return number < first ? nil : Metric(rawValue: number - first)
    }

    /// The name with its parent's, as in `network_context.asn`.
    package var name: String {
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

    /// What a member can be.
    package enum Kind: Hashable, Sendable {
        case integer(ClosedRange<Int64>)
        /// From 0 on.
        case number(maximum: Double)
        /// 36 characters.
        case uuid
        /// Without control characters; its length in UTF-8 and in Normalization Form C.
        case text(byteCount: ClosedRange<Int>)
        case object
        /// One of these texts.
        case choice([String])
    }

    package var kind: Kind {
        if let metric { return .number(maximum: metric.maximum) }
        let integerMax = Int64(SessionSequence.maximumNumber)
        return switch self {
        case .schemaVersion, .sequence: .integer(1...integerMax)
        case .eventID, .sessionID: .uuid
        case .clientID: .text(byteCount: 1...EventLimits.clientIDBytesMax)
        case .target: .text(byteCount: 1...EventLimits.targetBytesMax)
        case .timestamp: .integer(-integerMax...integerMax)
        case .networkContext, .timingMeasurements: .object
        case .errorStage: .choice(ErrorStage.allCases.map(\.name))
        case .asn: .integer(0...Int64(UInt32.max))
        default: .text(byteCount: 0...EventLimits.contextBytesMax)
        }
    }

    /// Whether there is no event without it.
    package var isRequired: Bool {
        [.schemaVersion, .eventID, .clientID, .target, .timestamp].contains(self)
    }

    /// What the member must be.
    var requirement: String {
        switch (self, kind) {
        case (.schemaVersion, _): "an integer of at least 1"
        case (.timestamp, _): "an integer: Unix time in milliseconds"
        case (_, .integer(let range)):
            "an integer from \(range.lowerBound) to \(range.upperBound)"
        case (_, .number(let maximum)): "a number from 0 to \(Int64(maximum))"
        case (_, .uuid): "a UUID of 36 characters"
        case (_, .text(let byteCount)):
            "a text of \(byteCount.lowerBound) to \(byteCount.upperBound) bytes of UTF-8 without "
                + "control characters"
        case (_, .object): "an object"
        case (_, .choice(let texts)): "null or one of " + texts.joined(separator: ", ")
        }
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

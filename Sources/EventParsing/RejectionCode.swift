/// Why something posted is refused: the stable, machine-readable `code` of an error answer.
package enum RejectionCode: String, CaseIterable, Sendable {
    /// The body is not JSON, a member is missing or has another type, or a text is too long.
    case invalidRequest = "invalid_request"
    case invalidSchemaVersion = "invalid_schema_version"
    case invalidEventID = "invalid_event_id"
    case invalidTimestamp = "invalid_timestamp"
    case invalidMeasurement = "invalid_measurement"
    case unauthorized
    /// The token may not speak for the event's client.
    case forbidden
    case notFound = "not_found"
    case methodNotAllowed = "method_not_allowed"
    case requestTimeout = "request_timeout"
    case payloadTooLarge = "payload_too_large"
    case unsupportedMediaType = "unsupported_media_type"
    case headersTooLarge = "headers_too_large"
    case rateLimitExceeded = "rate_limit_exceeded"
    /// Nothing was stored; the same request may be sent again.
    case serviceUnavailable = "service_unavailable"
}

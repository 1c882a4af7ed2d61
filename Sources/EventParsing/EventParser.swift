package import Blocks
internal import CEventParser
internal import Telemetry

/// Turns bodies of events into validated fields.
///
/// A parser reuses its buffers, so that in steady state a good event allocates nothing. It serves one
/// thread at a time. The fields of its events point into the body and into the parser: they are
/// valid until the next ``parse(_:byteCount:as:)``, as long as the body stays where it is.
@safe package final class EventParser {
    /// Room a body's buffer must have behind the body, bytes; its content is overwritten.
    package static let paddingByteCount = Int(EP_PADDING)
    /// The largest body, bytes: far above what `ingest` accepts, and below what its parser can index.
    package static let bodyBytesMax = 64 << 20

    /// How a body holds its events.
    package enum Form: Hashable, Sendable {
        /// One object, or an array of objects.
        case json
        /// One object per line (NDJSON); blank lines are skipped.
        case lines
    }

    /// What a body holds.
    package struct Body: Hashable, Sendable {
        /// Events, good and bad.
        package let eventCount: Int
        /// An array or lines rather than a single object.
        package let isBatch: Bool
    }

    private let parser: OpaquePointer
    private let names = NameArena()
    private let eventCountMax: Int
    private let eventBytesMax: Int

    /// - Parameters:
    ///   - eventCountMax: A body with more events is refused.
    ///   - eventBytesMax: A longer event is refused.
    package init(eventCountMax: Int = 2000, eventBytesMax: Int = 64 << 10) {
        self.eventCountMax = eventCountMax
        self.eventBytesMax = eventBytesMax
        guard
            let parser = unsafe ep_parser_create(
                UInt32(clamping: eventCountMax), UInt32(clamping: eventBytesMax))
        else { preconditionFailure("no memory for a parser's few hundred bytes") }
        unsafe self.parser = unsafe parser
    }

    deinit {
        unsafe ep_parser_destroy(parser)
    }

    /// Parses the first `byteCount` bytes of `storage`.
    ///
    /// An array must be JSON as a whole; in lines each line stands for itself.
    ///
    /// - Precondition: `storage` has room for ``paddingByteCount`` more bytes.
    /// - Throws: Why nothing of the body can be used.
    package func parse(
        _ storage: UnsafeMutableRawBufferPointer, byteCount: Int, as form: Form
    ) throws(EventRejection) -> Body {
        guard byteCount <= Self.bodyBytesMax else {
            throw EventRejection(
                .payloadTooLarge, "the body is longer than \(Self.bodyBytesMax) bytes")
        }
        precondition(storage.count >= byteCount + Self.paddingByteCount)
        guard let start = storage.baseAddress else {
            preconditionFailure("a buffer with padding has an address")
        }
        names.reset()
        let body = unsafe ep_parse(
            parser, start.assumingMemoryBound(to: UInt8.self), byteCount,
            Int32(form == .json ? EP_FORM_JSON : EP_FORM_LINES))
        switch unsafe Int(body.status) {
        case EP_PARSED:
            return unsafe Body(eventCount: Int(body.count), isBatch: body.is_batch)
        case EP_TOO_MANY_EVENTS:
            throw EventRejection(
                .payloadTooLarge, "the body holds more than \(eventCountMax) events")
        case EP_OUT_OF_MEMORY:
            throw EventRejection(.serviceUnavailable, "there is no memory to parse the body")
        default:
            throw unsafe EventRejection(
                .invalidRequest, "the body " + Self.reason(body.detail, at: body.offset))
        }
    }

    /// The fields of the event with `index`, 0 to `eventCount` − 1 of the last body, all within their limits.
    ///
    /// `receivedAtMilliseconds` is the rules' clock.
    ///
    /// Texts are in Unicode's Normalization Form C, whatever form they were posted in; the limits of their
    /// length hold for that form.
    ///
    /// - Parameter mayPost: Whether the poster may speak for the client with this name.
    /// - Throws: The first thing that is wrong: with a member's JSON in the order of the text, then with
    ///   its value in the order of the schema.
    @inline(__always)
    package func event(
        _ index: Int, rules: EventRules, mayPost: (UnsafeRawBufferPointer) -> Bool
    ) throws(EventRejection) -> EventFields {
        guard let event = unsafe ep_event_at(parser, UInt32(clamping: index)) else {
            preconditionFailure("event \(index) of fewer")
        }
        guard unsafe Int(event.pointee.verdict) == EP_GOOD else {
            throw unsafe rejection(of: event)
        }
        return try unsafe EventValidation(event: event, names: names)
            .fields(rules: rules, mayPost: mayPost)
    }

    /// Whether a known member comes twice in the event with `index`, good or bad.
    func isRepeated(_ field: EventField, in index: Int) -> Bool {
        guard let event = unsafe ep_event_at(parser, UInt32(clamping: index)) else { return false }
        return unsafe event.pointee.repeated & (1 << UInt32(field.number)) != 0
    }

    /// Bytes of the longest key of the event with `index`, known or not, at any depth.
    func longestKeyByteCount(in index: Int) -> Int {
        guard let event = unsafe ep_event_at(parser, UInt32(clamping: index)) else { return 0 }
        return unsafe Int(event.pointee.longest_key)
    }

    private func rejection(of event: UnsafePointer<ep_event>) -> EventRejection {
        let field = unsafe EventField(Int(event.pointee.field))
        switch unsafe Int(event.pointee.verdict) {
        case EP_NOT_AN_OBJECT:
            return EventRejection(.invalidRequest, "an event must be a JSON object")
        case EP_TOO_LARGE:
            return EventRejection(
                .payloadTooLarge, "an event must not be longer than \(eventBytesMax) bytes")
        case EP_MALFORMED_LINE:
            return unsafe EventRejection(
                .invalidRequest,
                "the line " + Self.reason(event.pointee.detail, at: event.pointee.offset))
        case EP_DUPLICATE:
            return field.rejection("must not come twice", code: .invalidRequest)
        default:
            return field.rejection
        }
    }

    private static func reason(_ detail: UnsafePointer<CChar>?, at offset: UInt32) -> String {
        let reason = unsafe detail.map { unsafe String(cString: $0) } ?? "is not JSON"
        return offset == EP_NO_OFFSET ? reason : "\(reason), at byte \(offset) of the body"
    }
}

internal import EventParsing
internal import NIOHTTP1
internal import ServiceKit
internal import Telemetry

/// An answer of the API: JSON, and in one form for every error.
///
///     {"status":"error","error":{"code":"invalid_timestamp","message":"ts_ms must …","field":"ts_ms"}}
///
/// `field` is there when a member is at fault. A batch of which nothing was accepted also has `accepted` and
/// `rejected`, as an accepted batch does.
struct Answer {
    /// What is sent behind the head.
    enum Body {
        case text(String)
        /// A single event is durable.
        case stored(UniqueID, receivedAtMilliseconds: Int64)

        static let storedStart: StaticString = "{\"status\":\"ok\",\"event_id\":\""
        static let storedMiddle: StaticString = "\",\"recv_ts_ms\":"
        static let storedEnd: StaticString = "}\n"
        /// Of an identifier's text form.
        private static let idByteCount = UniqueID.zero.description.utf8.count

        var byteCount: Int {
            switch self {
            case .text(let text): text.utf8.count
            case .stored(_, let receivedAt):
                Self.storedStart.utf8CodeUnitCount + Self.idByteCount
                    + Self.storedMiddle.utf8CodeUnitCount + String(receivedAt).utf8.count
                    + Self.storedEnd.utf8CodeUnitCount
            }
        }
    }

    var status: HTTPResponseStatus
    var body: Body
    /// When the request's head was read, Unix microseconds, of an answer that tells so and when it is written; these
    /// members end the body, which is open so far.
    var headReadAtMicroseconds: Int64?
    var headers: [(String, String)] = []
    /// Why the request was refused, for the access log.
    var code: RejectionCode?
    /// Ends the connection: what follows on it cannot be read as a request.
    var closes = false

    /// How long a client should wait before it repeats what met a 503, seconds.
    static let retryAfterSeconds = 1

    /// An error as a whole.
    init(_ rejection: EventRejection) {
        status = rejection.code.status
        code = rejection.code
        body = .text("{\"status\":\"error\",\"error\":\(Self.json(rejection))}\n")
        switch rejection.code {
        case .unauthorized: headers = [("WWW-Authenticate", "Bearer")]
        case .serviceUnavailable: headers = [("Retry-After", "\(Self.retryAfterSeconds)")]
        default: break
        }
    }

    /// An error after which the connection ends.
    static func closing(_ code: RejectionCode, _ message: String) -> Answer {
        var answer = Answer(EventRejection(code, message))
        answer.closes = true
        return answer
    }

    static func unavailable(_ message: String) -> Answer {
        Answer(EventRejection(.serviceUnavailable, "\(message); nothing was lost, send it again"))
    }

    /// Too much in too short a time; nothing of the request was stored.
    init(_ excess: RateExcess) {
        self.init(
            EventRejection(
                .rateLimitExceeded,
                "too many \(excess.rule.words); nothing was stored, send it again after "
                    + "\(excess.waitSeconds) s"))
        headers = [
            ("Retry-After", "\(excess.waitSeconds)"),
            ("X-RateLimit-Limit", "\(excess.limit.perSecond)"), ("X-RateLimit-Remaining", "0"),
            ("X-RateLimit-Reset", "\(excess.waitSeconds)"),
        ]
    }

    /// The answer to a body of events, all of whose accepted ones are durable.
    init(_ outcome: EventIntake.Outcome, receivedAtMilliseconds: Int64) {
        if !outcome.isBatch {
            if let rejection = outcome.rejected.first?.rejection {
                self.init(rejection)
            } else {
                self.init(
                    status: .accepted,
                    .stored(
                        outcome.eventID ?? .zero, receivedAtMilliseconds: receivedAtMilliseconds))
            }
            return
        }
        let counts =
            "\"accepted\":\(outcome.acceptedCount),\"rejected\":[\(Self.list(outcome.rejected))]"
        if outcome.acceptedCount > 0 {
            self.init(
                status: .accepted,
                body: "{\"status\":\"ok\",\"recv_ts_ms\":\(receivedAtMilliseconds),\(counts)}\n")
        } else {
            let error = Self.error(ofBatch: outcome)
            self.init(
                status: error.code.status,
                body: "{\"status\":\"error\",\"error\":\(Self.json(error)),\(counts)}\n")
            code = error.code
        }
    }

    /// The answer to a durable heartbeat.
    ///
    /// - Parameters:
    ///   - receivedAtMilliseconds: When the body was whole.
    ///   - headReadAtMicroseconds: When the head was read.
    static func heartbeat(
        receivedAtMilliseconds: Int64, headReadAtMicroseconds: Int64
    ) -> Answer {
        var answer = Answer(
            status: .accepted, body: "{\"status\":\"ok\",\"recv_ts_ms\":\(receivedAtMilliseconds)")
        answer.headReadAtMicroseconds = headReadAtMicroseconds
        return answer
    }

    /// The server's clock.
    static func time(headReadAtMicroseconds: Int64) -> Answer {
        var answer = Answer(status: .ok, body: "{\"status\":\"ok\"")
        answer.headReadAtMicroseconds = headReadAtMicroseconds
        return answer
    }

    init(_ response: HealthResponse) {
        self.init(
            status: HTTPResponseStatus(statusCode: response.status), body: response.body)
    }

    /// What can be read as it is.
    init(document: String) {
        self.init(status: .ok, .text(document))
    }

    private init(status: HTTPResponseStatus, body: String) {
        self.init(status: status, .text(body))
    }

    private init(status: HTTPResponseStatus, _ body: Body) {
        self.status = status
        self.body = body
    }

    private static func error(ofBatch outcome: EventIntake.Outcome) -> EventRejection {
        if outcome.rejected.isEmpty {
            return EventRejection(.invalidRequest, "the body holds no event")
        }
        let areAllForbidden = outcome.rejected.allSatisfy { $0.rejection.code == .forbidden }
        return areAllForbidden
            ? EventRejection(
                .forbidden, "the sender may not speak for the client of any event of the body")
            : EventRejection(.invalidRequest, "no event of the body was accepted; see 'rejected'")
    }

    private static func list(_ rejected: [(index: Int, rejection: EventRejection)]) -> String {
        var list = ""
        for (index, rejection) in rejected {
            if !list.isEmpty { list += "," }
            list += "{\"index\":\(index),\"error\":\"\(rejection.code.rawValue)\""
            if let field = rejection.field { list += ",\"field\":\(JSONText.literal(field))" }
            list += ",\"message\":\(JSONText.literal(rejection.message))}"
        }
        return list
    }

    private static func json(_ rejection: EventRejection) -> String {
        var json = "{\"code\":\"\(rejection.code.rawValue)\""
        json += ",\"message\":\(JSONText.literal(rejection.message))"
        if let field = rejection.field { json += ",\"field\":\(JSONText.literal(field))" }
        return json + "}"
    }
}

extension RejectionCode {
    /// The HTTP status of an answer with this code.
    var status: HTTPResponseStatus {
        switch self {
        case .invalidRequest, .invalidSchemaVersion, .invalidEventID, .invalidTimestamp,
            .invalidMeasurement:
            .badRequest
        case .unauthorized: .unauthorized
        case .forbidden: .forbidden
        case .notFound: .notFound
        case .methodNotAllowed: .methodNotAllowed
        case .requestTimeout: .requestTimeout
        case .payloadTooLarge: .payloadTooLarge
        case .unsupportedMediaType: .unsupportedMediaType
        case .headersTooLarge: .requestHeaderFieldsTooLarge
        case .rateLimitExceeded: .tooManyRequests
        case .serviceUnavailable: .serviceUnavailable
        }
    }
}

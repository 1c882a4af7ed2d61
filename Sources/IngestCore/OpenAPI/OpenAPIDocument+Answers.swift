internal import EventParsing
internal import NIOCore
internal import NIOHTTP1
internal import ServiceKit
internal import Telemetry

/// The answers, with examples that the API's own code has made.
extension OpenAPIDocument {
    /// All answers of a route, by status.
    func responses(_ route: Route, hasBody: Bool) -> JSONNode {
        var responses: [(status: Int, JSONNode)] = []
        switch route {
        case .events: responses.append((202, eventsAccepted))
        case .heartbeats:
            let answer = Answer.heartbeat(
                receivedAtMilliseconds: nowMilliseconds,
                headReadAtMicroseconds: wallClockMicroseconds())
            responses.append(
                (
                    202,
                    content(
                        "The heartbeat is durable.", .reference("schemas", "HeartbeatAccepted"),
                        [("heartbeat", body(answer))])
                ))
        case .time:
            let answer = Answer.time(headReadAtMicroseconds: wallClockMicroseconds())
            responses.append(
                (
                    200,
                    content(
                        "The server's clock.", .reference("schemas", "Time"),
                        [("time", body(answer))])
                ))
        case .health:
            responses.append(
                (200, content("The process lives.", .reference("schemas", "Health"), [])))
        case .ready:
            let schema = JSONNode.reference("schemas", "Readiness")
            responses.append((200, content("Events can be stored.", schema, [])))
            responses.append((503, content("Events cannot be stored.", schema, [])))
        case .openAPI:
            responses.append((200, content("The document.", ["type": "object"], [])))
        case .other: break
        }
        for (status, codes) in Self.byStatus(route.codes) {
            if let code = codes.first, codes.count == 1, RejectionCode.sharedAnswers.contains(code)
            {
                responses.append((status, .reference("responses", code.componentName)))
            } else {
                responses.append((status, refusal(codes, ofBatches: route == .events)))
            }
        }
        responses.sort { $0.status < $1.status }
        return .object(
            responses.map { status, response in
                ("\(status)", hasBody ? response : ["description": "As of GET, without a body."])
            })
    }

    private static func byStatus(_ codes: [RejectionCode]) -> [(Int, [RejectionCode])] {
        Dictionary(grouping: codes) { Int($0.status.code) }.sorted { $0.key < $1.key }
    }

    private var eventsAccepted: JSONNode {
        let rejection = EventRejection(
            .invalidMeasurement, field: "timing_measurements.dns_ms", "timing_measurements.dns_ms …"
        )
        let single = EventIntake.Outcome(eventID: Self.exampleIDs.first, acceptedCount: 1)
        let batch = EventIntake.Outcome(
            isBatch: true, acceptedCount: 2, rejected: [(1, rejection)])
        let examples = [("event", single), ("batch", batch)].map { name, outcome in
            (name, body(Answer(outcome, receivedAtMilliseconds: nowMilliseconds)))
        }
        return content(
            "What was accepted is durable.",
            [
                "oneOf": [
                    .reference("schemas", "Accepted"), .reference("schemas", "BatchAccepted"),
                ]
            ], examples)
    }

    // MARK: - Refusals

    /// An answer that refuses the request with one of these codes, which have one status.
    func refusal(_ codes: [RejectionCode], ofBatches mayBeBatch: Bool = false) -> JSONNode {
        let ofCodes: JSONNode = [
            "properties": [
                "error": ["properties": ["code": ["enum": .texts(codes.map(\.rawValue))]]]
            ]
        ]
        let wholes = codes.filter { [.invalidRequest, .forbidden].contains($0) }
        let isBatch = mayBeBatch && !wholes.isEmpty
        let form: JSONNode =
            isBatch
            ? ["anyOf": [.reference("schemas", "Error"), .reference("schemas", "BatchError")]]
            : .reference("schemas", "Error")
        var examples = codes.map { ($0.rawValue, body(example($0))) }
        if isBatch { examples += wholes.map { ("batch_\($0.rawValue)", body(exampleOfBatch($0))) } }
        let description = codes.map { "\($0.rawValue): \($0.meaning)" }.joined(separator: " ")
        let response = content(description, ["allOf": [form, ofCodes]], examples)
        let names = codes.flatMap(headerNames)
        guard !names.isEmpty else { return response }
        return response.with([
            "headers": .object(names.map { ($0, .reference("headers", $0)) })
        ])
    }

    private func example(_ code: RejectionCode) -> Answer {
        switch code {
        case .rateLimitExceeded:
            Answer(RateExcess(rule: .clientEvents, limit: exampleRate, waitNanoseconds: 1))
        case .serviceUnavailable: .unavailable("NATS is not reachable")
        default: Answer(EventRejection(code, code.meaning))
        }
    }

    private var exampleRate: RateLimit {
        configuration.clientLimits.events ?? RateLimit(perSecond: 1, burstSeconds: 1)
    }

    private func exampleOfBatch(_ code: RejectionCode) -> Answer {
        let rejection = EventRejection(code, code.meaning)
        let outcome = EventIntake.Outcome(isBatch: true, rejected: [(0, rejection)])
        return Answer(outcome, receivedAtMilliseconds: nowMilliseconds)
    }

    /// Those that answers with this code have beyond what all have.
    private func headerNames(_ code: RejectionCode) -> [String] {
        code == .methodNotAllowed ? ["Allow"] : example(code).headers.map(\.0)
    }

    /// The fields that answers have beyond what all have.
    var headers: [(String, JSONNode)] {
        var names: [String] = []
        for name in RejectionCode.allCases.flatMap(headerNames) where !names.contains(name) {
            names.append(name)
        }
        return names.map { name in
            let (type, description) = Self.header(name)
            return (
                name,
                [
                    "required": true, "description": .text(description),
                    "schema": type == "integer"
                        ? ["type": "integer", "minimum": 0] : ["type": .text(type)],
                ]
            )
        }
    }

    private static func header(_ name: String) -> (type: String, description: String) {
        switch name {
        case "Retry-After": ("integer", "Seconds to wait before the same is sent again.")
        case "X-RateLimit-Limit": ("integer", "Events or bytes per second that are allowed.")
        case "X-RateLimit-Remaining": ("integer", "What may be sent now.")
        case "X-RateLimit-Reset": ("integer", "Seconds until something may be sent again.")
        case "WWW-Authenticate": ("string", "How to authenticate.")
        case "Allow": ("string", "The methods of this path.")
        default: ("string", "")
        }
    }

    // MARK: - Parts

    private func content(
        _ description: String, _ schema: JSONNode, _ examples: [(String, JSONNode)]
    ) -> JSONNode {
        var media: [(String, JSONNode)] = [("schema", schema)]
        if !examples.isEmpty {
            media.append(("examples", .object(examples.map { ($0.0, ["value": $0.1]) })))
        }
        return [
            "description": .text(description), "content": ["application/json": .object(media)],
        ]
    }

    /// The body of an answer, as it is sent.
    private func body(_ answer: Answer) -> JSONNode {
        var bytes = ByteBuffer()
        let count = AnswerBytes().write(
            answer, closes: false, isHTTP10: false, isHEAD: false, to: &bytes)
        let text = String(decoding: bytes.readableBytesView.suffix(count), as: UTF8.self)
        return .raw(String(text.prefix { !$0.isNewline }))
    }
}

extension Route {
    /// Why a request that has this path and one of its methods can be refused.
    fileprivate var codes: [RejectionCode] {
        RejectionCode.allCases.filter { code in
            switch code {
            case .notFound, .methodNotAllowed: false
            case .invalidRequest, .requestTimeout, .headersTooLarge: self != .other
            case .unauthorized: needsCaller
            case .invalidTimestamp, .forbidden, .payloadTooLarge,
                .unsupportedMediaType, .rateLimitExceeded, .serviceUnavailable:
                self == .events || self == .heartbeats
            case .invalidSchemaVersion, .invalidEventID, .invalidMeasurement: self == .events
            }
        }
    }
}

extension RejectionCode {
    /// Codes that have a status of their own and one form wherever they come: components of the document.
    static let sharedAnswers = allCases.filter { code in
        code != .forbidden && allCases.count { $0.status == code.status } == 1
    }

    /// As in `PayloadTooLarge`.
    var componentName: String {
        rawValue.split(separator: "_").map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }

    /// What it says, in a sentence.
    var meaning: String {
        switch self {
        case .invalidRequest:
            "The request is not what it must be: not HTTP/1.1, not JSON, or a member is missing or wrong."
        case .invalidSchemaVersion: "schema_version is missing or wrong."
        case .invalidEventID: "event_id is missing or no UUID."
        case .invalidTimestamp: "ts_ms is missing, wrong, too old or too far ahead."
        case .invalidMeasurement: "A measurement or error_stage is wrong."
        case .unauthorized: "There is no valid token."
        case .forbidden: "The token may not speak for this client, or may not post."
        case .notFound: "There is no such path."
        case .methodNotAllowed: "The path does not answer this method."
        case .requestTimeout: "The request came too slowly; the connection ends."
        case .payloadTooLarge: "The body, a batch or an event is too large."
        case .unsupportedMediaType:
            "The Content-Type or the Content-Encoding is none of those described."
        case .headersTooLarge: "The head is too large; the connection ends."
        case .rateLimitExceeded: "Too much in too short a time; nothing was stored."
        case .serviceUnavailable: "Nothing was stored, and the same may be sent again."
        }
    }
}

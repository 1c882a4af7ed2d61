internal import EventParsing
internal import NIOHTTP1
internal import ServiceKit
internal import Telemetry

/// The description of the API as one instance is configured (OpenAPI Specification 3.1).
///
/// It is made of the tables by which requests are judged and of answers as they are really made, so that it says
/// what the instance does.
package struct OpenAPIDocument {
    let configuration: IngestConfiguration
    /// When the measurements of the examples were made, Unix milliseconds.
    let nowMilliseconds: Int64

    package init(_ configuration: IngestConfiguration, nowMilliseconds: Int64) {
        self.configuration = configuration
        self.nowMilliseconds = nowMilliseconds
    }

    /// The document, JSON.
    package var text: String {
        var text = ""
        root.append(to: &text)
        return text + "\n"
    }

    private var root: JSONNode {
        [
            "openapi": "3.1.0",
            "info": [
                "title": "Network QoE Telemetry Platform: ingest",
                "version": .text(Build.version),
                "description": .text(Self.introduction),
            ],
            "servers": [["url": "/"]],
            "paths": .object(
                Route.allCases.flatMap { route in
                    route.paths.map { ($0, pathItem(route, $0)) }
                }),
            "components": [
                "securitySchemes": .object(securitySchemes),
                "headers": .object(headers),
                "responses": .object(
                    RejectionCode.sharedAnswers.map { ($0.componentName, refusal([$0])) }),
                "schemas": .object(schemas),
            ],
            "x-limits": limits,
        ]
    }

    private static let introduction = """
        202 means that everything that was accepted is durable. 503 means that nothing is promised: send the same \
        again after Retry-After seconds; whatever has the same event_id, or the same session_id and seq, is counted \
        once. A path that is not described is answered with 404 (NotFound), a method that is not described with 405 \
        (MethodNotAllowed). A member that is null is absent, and members that are not described are ignored. Lengths \
        of texts are in bytes of UTF-8, of which a character has 1 to 4. x-limits has what a schema cannot say.
        """

    /// What bounds a request as a whole.
    private var limits: JSONNode {
        [
            "bodyBytes": .integer(Int64(configuration.bodyBytesMax)),
            "inflatedBodyBytes": .integer(Int64(configuration.inflatedBytesMax)),
            "inflationRatio": .integer(Int64(configuration.inflationRatioMax)),
            "eventsPerRequest": .integer(Int64(configuration.batchEventsMax)),
            "eventBytes": .integer(Int64(configuration.eventBytesMax)),
            "heartbeatBytes": .integer(Int64(HeartbeatParser.bytesMax)),
            "headerFields": .integer(Int64(API.headerFieldsMax)),
            "headerFieldBytes": .integer(Int64(API.headerFieldBytesMax)),
            "headerBytes": .integer(Int64(API.headerBytesMax)),
            "oldestEventMilliseconds": .integer(configuration.retentionMilliseconds),
            "aheadOfClockMilliseconds": .integer(EventLimits.aheadMillisecondsMax),
        ]
    }

    // MARK: - Who may

    private static let bearer = "bearer"
    private static let mutualTLS = "mutualTLS"

    private var securitySchemes: [(String, JSONNode)] {
        var schemes: [(String, JSONNode)] = [
            (
                Self.bearer,
                [
                    "type": "http", "scheme": "bearer", "bearerFormat": "qoe_<id>_<secret>",
                    "description": """
                    A token, made by 'qoectl token create'. Posting needs one of the role probe, for the clients that \
                    it names.
                    """,
                ]
            )
        ]
        if configuration.tls?.clientCAFile != nil {
            schemes.append(
                (
                    Self.mutualTLS,
                    [
                        "type": "mutualTLS",
                        "description": """
                        A certificate whose DNS names (subjectAltName) are the client_ids that it may post for. \
                        A token, when one is given, is asked instead.
                        """,
                    ]
                ))
        }
        return schemes
    }

    private func security(_ route: Route) -> JSONNode {
        let needsCertificate = configuration.tls?.requiresClientCertificate == true
        guard configuration.tls?.clientCAFile != nil else {
            return route.needsCaller ? [[Self.bearer: []]] : []
        }
        guard route.needsCaller else { return needsCertificate ? [[Self.mutualTLS: []]] : [] }
        let token: JSONNode =
            needsCertificate ? [Self.bearer: [], Self.mutualTLS: []] : [Self.bearer: []]
        return [token, [Self.mutualTLS: []]]
    }

    // MARK: - Paths

    private func pathItem(_ route: Route, _ path: String) -> JSONNode {
        .object(
            route.methods.map { method in
                (method.rawValue.lowercased(), operation(route, path, method))
            })
    }

    private func operation(_ route: Route, _ path: String, _ method: HTTPMethod) -> JSONNode {
        let words = path.split { !$0.isLetter && !$0.isNumber }
        let name = words.map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
        var operation: [(String, JSONNode)] = [
            ("operationId", .text(method.rawValue.lowercased() + name)),
            ("summary", .text(route.summary)), ("security", security(route)),
        ]
        if route.isPosted {
            operation += [
                ("parameters", [Self.contentEncoding]), ("requestBody", requestBody(route)),
            ]
        }
        operation.append(("responses", responses(route, hasBody: method != .HEAD)))
        return .object(operation)
    }

    private static let contentEncoding: JSONNode = [
        "name": "Content-Encoding", "in": "header",
        "description": "gzip (RFC 1952, one member), or nothing.",
        "schema": ["type": "string", "enum": ["gzip", "identity"]],
    ]

    private func requestBody(_ route: Route) -> JSONNode {
        let bytes = "At most \(configuration.bodyBytesMax) bytes as sent"
        let inflated = "and \(configuration.inflatedBytesMax) when its gzip is undone"
        guard route == .events else {
            return [
                "required": true,
                "description":
                    "\(bytes), \(inflated), of which a heartbeat may have \(HeartbeatParser.bytesMax).",
                "content": [
                    "application/json": [
                        "schema": .reference("schemas", "Heartbeat"),
                        "examples": ["heartbeat": ["value": exampleHeartbeat]],
                    ]
                ],
            ]
        }
        return [
            "required": true,
            "description": """
            \(bytes), \(inflated); an event at most \(configuration.eventBytesMax). In a batch a bad event harms no \
            other: the answer names it. application/json is assumed when no type is given.
            """,
            "content": [
                "application/json": [
                    "schema": [
                        "oneOf": [.reference("schemas", "Event"), .reference("schemas", "Batch")]
                    ],
                    "examples": [
                        "event": ["value": exampleEvent(0)],
                        "batch": ["value": [exampleEvent(1), exampleEvent(2)]],
                    ],
                ],
                "application/x-ndjson": [
                    "schema": [
                        "type": "string",
                        "description": """
                        An Event per line, at most \(configuration.batchEventsMax); blank lines do not count.
                        """,
                    ],
                    "examples": ["lines": ["value": exampleLines]],
                ],
            ],
        ]
    }
}

extension Route {
    /// Whether it takes something, from whom may give it.
    fileprivate var isPosted: Bool { methods.contains(.POST) }

    fileprivate var summary: String {
        switch self {
        case .events: "Takes one event or a batch, and answers when they are durable."
        case .heartbeats: "Takes what a probe says about itself."
        case .time: "Tells the server's clock, to any valid token."
        case .health: "Says that the process lives."
        case .ready: "Says whether events can be stored, and what is missing."
        case .openAPI: "This document."
        case .other: ""
        }
    }
}

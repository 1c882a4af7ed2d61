internal import EventParsing
internal import NIOHTTP1
internal import Telemetry

/// What bodies of requests and answers look like.
extension OpenAPIDocument {
    var schemas: [(String, JSONNode)] {
        [
            ("Event", event), ("Batch", batch), ("Heartbeat", heartbeat), ("Code", Self.code),
            ("Error", Self.error), ("Rejected", Self.rejected), ("BatchError", Self.batchError),
            (
                "Accepted",
                Self.object([
                    ("status", ["const": "ok"]), ("event_id", Self.uuid),
                    ("recv_ts_ms", Self.instant),
                ])
            ),
            (
                "BatchAccepted",
                Self.object([
                    ("status", ["const": "ok"]), ("recv_ts_ms", Self.instant),
                    ("accepted", ["type": "integer", "minimum": 1]),
                    ("rejected", Self.rejectedList),
                ])
            ),
            (
                "HeartbeatAccepted",
                Self.object(
                    [("status", ["const": "ok"]), ("recv_ts_ms", Self.instant)] + Self.times)
            ),
            ("Time", Self.object([("status", ["const": "ok"])] + Self.times)),
            (
                "Health",
                Self.object([("status", ["const": "ok"]), ("version", ["type": "string"])])
            ),
            ("Readiness", Self.readiness),
        ]
    }

    // MARK: - Events

    private var event: JSONNode {
        let fields = EventField.all.map { (name: $0.name.split(separator: "."), field: $0) }
        let members = fields.filter { $0.name.count == 1 }.map { name, field in
            let inner = fields.filter { $0.name.count == 2 && $0.name.first == name.first }
            return (
                String(name[0]),
                member(field, inner: inner.map { (String($0.name[1]), member($0.field)) })
            )
        }
        return [
            "type": "object",
            "required": .texts(EventField.all.filter(\.isRequired).map(\.name)),
            "properties": .object(members),
            // Both or neither.
            "anyOf": [
                [
                    "required": ["session_id", "seq"],
                    "properties": ["session_id": ["type": "string"], "seq": ["type": "integer"]],
                ],
                ["properties": ["session_id": ["type": "null"], "seq": ["type": "null"]]],
            ],
        ]
    }

    private var batch: JSONNode {
        [
            "type": "array", "items": .reference("schemas", "Event"), "minItems": 1,
            "maxItems": .integer(Int64(configuration.batchEventsMax)),
        ]
    }

    private func member(_ field: EventField, inner: [(String, JSONNode)] = []) -> JSONNode {
        func type(_ name: String) -> JSONNode {
            field.isRequired ? .text(name) : [.text(name), "null"]
        }
        switch field.kind {
        case .integer where field == .timestamp:
            return [
                "type": type("integer"), "format": "int64",
                "description": """
                When it was measured, Unix milliseconds: at most \(EventLimits.aheadMillisecondsMax) ms ahead of the \
                server's clock and \(configuration.retentionMilliseconds) ms behind it.
                """,
            ]
        case .integer(let range):
            return [
                "type": type("integer"), "minimum": .integer(range.lowerBound),
                "maximum": .integer(range.upperBound),
            ]
        case .number(let maximum):
            return [
                "type": type("number"), "minimum": 0, "maximum": .integer(Int64(maximum)),
                "description": .text(field.metric.map { "In \($0.unit.rawValue)." } ?? ""),
            ]
        case .uuid: return Self.uuid(type("string"))
        case .text(let byteCount): return Self.text(type("string"), byteCount)
        case .object: return ["type": type("object"), "properties": .object(inner)]
        case .choice(let texts):
            return ["enum": .array(texts.map(JSONNode.text) + [.raw("null")])]
        }
    }

    // MARK: - Heartbeats

    private var heartbeat: JSONNode {
        [
            "type": "object", "required": ["client_id", "ts_ms"],
            "properties": .object(Heartbeat.CodingKeys.allCases.map { ($0.rawValue, member($0)) }),
        ]
    }

    private func member(_ key: Heartbeat.CodingKeys) -> JSONNode {
        let most = Int64(SessionSequence.maximumNumber)
        let texts = 0...HeartbeatParser.textBytesMax
        let names = Self.text("string", 1...HeartbeatParser.textBytesMax)
        let countMax = JSONNode.integer(Int64(HeartbeatParser.labelsMax))
        return switch key {
        case .clientID: Self.text("string", 1...EventLimits.clientIDBytesMax)
        case .sentAtMilliseconds:
            [
                "type": "integer", "minimum": 0, "maximum": .integer(most),
                "description": "The probe's clock, Unix milliseconds: any time.",
            ]
        case .session: Self.uuid(["string", "null"])
        case .version, .build, .hostname, .externalAddress, .configurationHash, .lastError:
            Self.text(["string", "null"], texts)
        case .spoolDepth, .drops, .memoryBytes, .activeTargets:
            ["type": ["integer", "null"], "minimum": 0, "maximum": .integer(most)]
        case .uptimeSeconds, .spoolOldestAgeSeconds, .clockUncertaintyMilliseconds, .cpuPercent:
            ["type": ["number", "null"], "minimum": 0, "maximum": .integer(most)]
        case .clockOffsetMilliseconds:
            ["type": ["number", "null"], "minimum": .integer(-most), "maximum": .integer(most)]
        case .labels:
            [
                "type": ["object", "null"], "maxProperties": countMax, "propertyNames": names,
                "additionalProperties": Self.text("string", texts),
            ]
        case .capabilities:
            ["type": ["array", "null"], "maxItems": countMax, "items": names]
        case .receivedAtMilliseconds:
            [
                "type": ["integer", "null"], "readOnly": true,
                "description": "The server's clock, Unix milliseconds.",
            ]
        case .sourceAddress:
            [
                "type": ["string", "null"], "readOnly": true,
                "description": "Where the connection came from.",
            ]
        }
    }

    // MARK: - Answers

    private static let code: JSONNode = [
        "type": "string", "enum": .texts(RejectionCode.allCases.map(\.rawValue)),
        "x-statuses": .object(
            RejectionCode.allCases.map { ($0.rawValue, .integer(Int64($0.status.code))) }),
    ]

    private static let errorMembers: [(String, JSONNode)] = [
        ("status", ["const": "error"]),
        (
            "error",
            object(
                [("code", .reference("schemas", "Code")), ("message", ["type": "string"])],
                optional: [("field", memberName)])
        ),
    ]

    private static let error = object(errorMembers)

    private static let batchError = object(
        errorMembers + [("accepted", ["const": 0]), ("rejected", rejectedList)])

    private static let rejected = object(
        [
            ("index", ["type": "integer", "minimum": 0]),
            ("error", .reference("schemas", "Code")), ("message", ["type": "string"]),
        ], optional: [("field", memberName)])

    private static let rejectedList: JSONNode = [
        "type": "array", "items": .reference("schemas", "Rejected"),
    ]

    private static let memberName: JSONNode = [
        "type": "string",
        "description": "The member at fault with its parent's name, as in network_context.asn.",
    ]

    private static let readiness = object([
        ("status", ["enum": ["ready", "failing", "shutting down"]]),
        (
            "dependencies",
            [
                "type": "object",
                "additionalProperties": object(
                    [("status", ["enum": ["ready", "failing"]])],
                    optional: [("reason", ["type": "string"])]),
            ]
        ),
    ])

    // MARK: - Parts

    private static let instant: JSONNode = [
        "type": "integer", "format": "int64",
        "description": "When it was received by the server's clock, Unix milliseconds.",
    ]

    /// By which a client can compare its clock with the server's.
    private static let times: [(String, JSONNode)] = [
        (
            "server_recv_us",
            [
                "type": "integer", "format": "int64",
                "description":
                    "When the request's head was read by the server's clock, Unix microseconds.",
            ]
        ),
        (
            "server_send_us",
            [
                "type": "integer", "format": "int64",
                "description":
                    "When the answer was written by the server's clock, Unix microseconds.",
            ]
        ),
    ]

    private static let uuid = uuid("string")

    private static func uuid(_ type: JSONNode) -> JSONNode {
        [
            "type": type, "format": "uuid",
            "pattern": "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
        ]
    }

    /// A text has at least as many bytes as characters.
    private static func text(_ type: JSONNode, _ byteCount: ClosedRange<Int>) -> JSONNode {
        [
            "type": type, "minLength": .integer(Int64(byteCount.lowerBound)),
            "maxLength": .integer(Int64(byteCount.upperBound)),
            "pattern": "^[^\\u0000-\\u001F\\u007F-\\u009F]*$",
            "description":
                "At most \(byteCount.upperBound) bytes of UTF-8, without control characters.",
        ]
    }

    private static func object(
        _ required: [(String, JSONNode)], optional: [(String, JSONNode)] = []
    ) -> JSONNode {
        [
            "type": "object", "required": .texts(required.map(\.0)),
            "properties": .object(required + optional),
        ]
    }
}

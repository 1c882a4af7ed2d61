import EventParsing
import Telemetry
import TestKit
import Testing

/// One bad event: what is posted, and what the poster is told.
struct BadEvent: Sendable, CustomTestStringConvertible {
    let name: String
    let json: String
    let code: RejectionCode
    let field: String?

    init(_ name: String, _ members: Members, _ code: RejectionCode, _ field: String?) {
        self.init(name, json: members.json, code, field)
    }

    init(_ name: String, json: String, _ code: RejectionCode, _ field: String?) {
        self.name = name
        self.json = json
        self.code = code
        self.field = field
    }

    var testDescription: String { name }
}

private let good = Members()
private let session = #""11111111-2222-4333-8444-555555555555""#

private func metric(_ name: String, _ value: String) -> Members {
    good.with("timing_measurements", "{\"\(name)\":\(value)}")
}

private func context(_ name: String, _ value: String) -> Members {
    good.with("network_context", "{\"\(name)\":\(value)}")
}

private func text(_ count: Int) -> String {
    "\"" + String(repeating: "a", count: count) + "\""
}

private let required: [BadEvent] = [
    .init(
        "no schema_version", good.with("schema_version", nil), .invalidSchemaVersion,
        "schema_version"),
    .init(
        "schema_version null", good.with("schema_version", "null"), .invalidSchemaVersion,
        "schema_version"),
    .init(
        "schema_version 0", good.with("schema_version", "0"), .invalidSchemaVersion,
        "schema_version"),
    .init(
        "schema_version -1", good.with("schema_version", "-1"), .invalidSchemaVersion,
        "schema_version"),
    .init(
        "schema_version 1.5", good.with("schema_version", "1.5"), .invalidSchemaVersion,
        "schema_version"),
    .init(
        "schema_version text", good.with("schema_version", "\"1\""), .invalidSchemaVersion,
        "schema_version"),
    .init("no event_id", good.with("event_id", nil), .invalidEventID, "event_id"),
    .init("event_id number", good.with("event_id", "7"), .invalidEventID, "event_id"),
    .init("event_id short", good.with("event_id", "\"550e8400\""), .invalidEventID, "event_id"),
    .init(
        "event_id with a letter beyond f",
        good.with("event_id", "\"550e8400-e29b-41d4-a716-44665544000g\""), .invalidEventID,
        "event_id"),
    .init(
        "event_id without hyphens",
        good.with("event_id", "\"550e8400e29b41d4a716446655440000\""), .invalidEventID, "event_id"),
    .init("no client_id", good.with("client_id", nil), .invalidRequest, "client_id"),
    .init("client_id null", good.with("client_id", "null"), .invalidRequest, "client_id"),
    .init("client_id empty", good.with("client_id", "\"\""), .invalidRequest, "client_id"),
    .init(
        "client_id of 256 bytes", good.with("client_id", text(256)), .invalidRequest, "client_id"),
    .init("client_id object", good.with("client_id", "{}"), .invalidRequest, "client_id"),
    .init("no target", good.with("target", nil), .invalidRequest, "target"),
    .init("target true", good.with("target", "true"), .invalidRequest, "target"),
    .init("target of 256 bytes", good.with("target", text(256)), .invalidRequest, "target"),
    .init("no ts_ms", good.with("ts_ms", nil), .invalidTimestamp, "ts_ms"),
    .init("ts_ms text", good.with("ts_ms", "\"1703347200000\""), .invalidTimestamp, "ts_ms"),
    .init("ts_ms fraction", good.with("ts_ms", "1703347200000.5"), .invalidTimestamp, "ts_ms"),
    .init("ts_ms beyond 2^53", good.with("ts_ms", "9007199254740993"), .invalidTimestamp, "ts_ms"),
    .init(
        "ts_ms of 40 digits",
        good.with("ts_ms", String(repeating: "9", count: 40)), .invalidTimestamp, "ts_ms"),
    .init(
        "ts_ms 5 minutes and 1 ms ahead",
        good.with("ts_ms", "\(now + 300_001)"), .invalidTimestamp, "ts_ms"),
    .init(
        "ts_ms older than the retention",
        good.with("ts_ms", "\(now - EventLimits.retentionMillisecondsDefault - 1)"),
        .invalidTimestamp, "ts_ms"),
    .init("ts_ms negative", good.with("ts_ms", "-1"), .invalidTimestamp, "ts_ms"),
    .init("ts_ms in seconds", good.with("ts_ms", "1703347200"), .invalidTimestamp, "ts_ms"),
]

private let measurements: [BadEvent] = [
    .init(
        "dns_ms negative", metric("dns_ms", "-0.1"), .invalidMeasurement,
        "timing_measurements.dns_ms"),
    .init(
        "dns_ms text", metric("dns_ms", "\"15\""), .invalidMeasurement, "timing_measurements.dns_ms"
    ),
    .init(
        "tcp_ms too large", metric("tcp_ms", "3600000.1"), .invalidMeasurement,
        "timing_measurements.tcp_ms"),
    .init(
        "tls_ms 1e400", metric("tls_ms", "1e400"), .invalidMeasurement, "timing_measurements.tls_ms"
    ),
    .init(
        "ttfb_ms -1e400", metric("ttfb_ms", "-1e400"), .invalidMeasurement,
        "timing_measurements.ttfb_ms"),
    .init(
        "rtt_ms object", metric("rtt_ms", "{}"), .invalidMeasurement, "timing_measurements.rtt_ms"),
    .init(
        "jitter_ms array", metric("jitter_ms", "[1]"), .invalidMeasurement,
        "timing_measurements.jitter_ms"),
    .init(
        "total_ms true", metric("total_ms", "true"), .invalidMeasurement,
        "timing_measurements.total_ms"),
    .init(
        "loss_pct 100.1", metric("loss_pct", "100.1"), .invalidMeasurement,
        "timing_measurements.loss_pct"),
    .init(
        "throughput_mbps 1000001", metric("throughput_mbps", "1000001"),
        .invalidMeasurement, "timing_measurements.throughput_mbps"),
    .init(
        "loaded_rtt_ms of 400 digits",
        metric("loaded_rtt_ms", String(repeating: "9", count: 400)),
        .invalidMeasurement, "timing_measurements.loaded_rtt_ms"),
    .init(
        "timing_measurements array", good.with("timing_measurements", "[]"),
        .invalidMeasurement, "timing_measurements"),
    .init(
        "error_stage unknown", good.with("error_stage", "\"quic\""), .invalidMeasurement,
        "error_stage"),
    .init(
        "error_stage empty", good.with("error_stage", "\"\""), .invalidMeasurement, "error_stage"),
    .init("error_stage number", good.with("error_stage", "1"), .invalidMeasurement, "error_stage"),
]

private let others: [BadEvent] = [
    .init(
        "network_context text", good.with("network_context", "\"wifi\""), .invalidRequest,
        "network_context"),
    .init("asn negative", context("asn", "-1"), .invalidRequest, "network_context.asn"),
    .init("asn 2^32", context("asn", "4294967296"), .invalidRequest, "network_context.asn"),
    .init("asn text", context("asn", "\"AS64500\""), .invalidRequest, "network_context.asn"),
    .init("isp number", context("isp", "7"), .invalidRequest, "network_context.isp"),
    .init("isp of 129 bytes", context("isp", text(129)), .invalidRequest, "network_context.isp"),
    .init(
        "region with a newline", context("region", #""a\nb""#), .invalidRequest,
        "network_context.region"),
    .init("session_id alone", good.with("session_id", session), .invalidRequest, "seq"),
    .init("seq alone", good.with("seq", "1"), .invalidRequest, "session_id"),
    .init("seq 0", good.with("session_id", session).with("seq", "0"), .invalidRequest, "seq"),
    .init("seq -1", good.with("session_id", session).with("seq", "-1"), .invalidRequest, "seq"),
    .init(
        "seq beyond 2^53", good.with("session_id", session).with("seq", "9007199254740994"),
        .invalidRequest, "seq"),
    .init(
        "session_id no UUID", good.with("session_id", "\"1\"").with("seq", "1"),
        .invalidRequest, "session_id"),
]

private let hostile: [BadEvent] = [
    .init(
        "client_id twice", good.repeating("client_id", "\"probe-002\""), .invalidRequest,
        "client_id"),
    .init(
        "client_id twice, once with escapes", good.repeating(#"client\u005fid"#, "\"probe-002\""),
        .invalidRequest, "client_id"),
    .init(
        "timing_measurements twice", good.repeating("timing_measurements", "{}"),
        .invalidRequest, "timing_measurements"),
    .init(
        "dns_ms twice", good.with("timing_measurements", #"{"dns_ms":1,"dns_ms":2}"#),
        .invalidRequest, "timing_measurements.dns_ms"),
    .init(
        "asn twice, once null", good.with("network_context", #"{"asn":null,"asn":2}"#),
        .invalidRequest, "network_context.asn"),
    .init(
        "client_id with U+0000", good.with("client_id", #""a\u0000b""#), .invalidRequest,
        "client_id"),
    .init("client_id with a tab", good.with("client_id", #""a\tb""#), .invalidRequest, "client_id"),
    .init(
        "client_id with DEL", good.with("client_id", "\"a\u{7F}b\""), .invalidRequest, "client_id"),
    .init(
        "client_id with U+0085", good.with("client_id", "\"a\u{85}b\""), .invalidRequest,
        "client_id"),
    .init(
        "client_id with U+009F escaped", good.with("client_id", #""a\u009fb""#),
        .invalidRequest, "client_id"),
    .init(
        "target with a lone high surrogate", good.with("target", #""a\ud83d""#), .invalidRequest,
        "target"),
    .init(
        "target with a lone low surrogate", good.with("target", #""\ude80a""#), .invalidRequest,
        "target"),
    .init(
        "target with surrogates in the wrong order", good.with("target", #""\ude80\ud83d""#),
        .invalidRequest, "target"),
]

private let malformed: [BadEvent] = [
    .init("nothing", json: "", .invalidRequest, nil),
    .init("white space", json: " \n\t ", .invalidRequest, nil),
    .init("a number", json: "1", .invalidRequest, nil),
    .init("null", json: "null", .invalidRequest, nil),
    .init("a text", json: "\"a\"", .invalidRequest, nil),
    .init("a byte order mark", json: "\u{FEFF}" + good.json, .invalidRequest, nil),
    .init("something behind", json: good.json + "x", .invalidRequest, nil),
    .init("two objects", json: good.json + good.json, .invalidRequest, nil),
    .init("one brace too many", json: good.json + "}", .invalidRequest, nil),
    .init("no closing brace", json: String(good.json.dropLast()), .invalidRequest, nil),
    .init("a trailing comma", json: String(good.json.dropLast()) + ",}", .invalidRequest, nil),
    .init("no colon", json: #"{"ts_ms" 1}"#, .invalidRequest, nil),
    .init("no comma", json: #"{"ts_ms":1 "seq":1}"#, .invalidRequest, nil),
    .init("two colons", json: #"{"a":"b":1,"c":2}"#, .invalidRequest, nil),
    .init("a key without quotes", json: "{ts_ms:1}", .invalidRequest, nil),
    .init("single quotes", json: "{'ts_ms':1}", .invalidRequest, nil),
    .init("NaN", metric("dns_ms", "NaN"), .invalidRequest, nil),
    .init("Infinity", metric("dns_ms", "Infinity"), .invalidRequest, nil),
    .init("a leading zero", metric("dns_ms", "01"), .invalidRequest, nil),
    .init("a leading plus", metric("dns_ms", "+1"), .invalidRequest, nil),
    .init("a leading point", metric("dns_ms", ".5"), .invalidRequest, nil),
    .init("a trailing point", metric("dns_ms", "1."), .invalidRequest, nil),
    .init("an empty exponent", metric("dns_ms", "1e"), .invalidRequest, nil),
    .init("a hexadecimal number", metric("dns_ms", "0x10"), .invalidRequest, nil),
    .init("a minus alone", metric("dns_ms", "-"), .invalidRequest, nil),
    .init("a NUL behind a number", metric("dns_ms", "1\u{0}"), .invalidRequest, nil),
    .init("a bad number in an unknown member", good.with("x", "[01]"), .invalidRequest, nil),
    .init("a bad word in an unknown member", good.with("x", "nulL"), .invalidRequest, nil),
    .init("a bad escape in an unknown member", good.with("x", #""\q""#), .invalidRequest, nil),
    .init("a short escape in an unknown key", good.with(#"\u12"#, "1"), .invalidRequest, nil),
    .init("a raw newline in a text", good.with("x", "\"a\nb\""), .invalidRequest, nil),
    .init("an open text", json: #"{"client_id":"abc"#, .invalidRequest, nil),
    .init(
        "17 levels",
        good.with("x", String(repeating: "[", count: 16) + String(repeating: "]", count: 16)),
        .invalidRequest, nil),
    .init("100,000 levels", json: String(repeating: "[", count: 100_000), .invalidRequest, nil),
]

struct EventVectorTests {
    @Test(arguments: required + measurements + others + hostile)
    func `a bad event is refused with its code and field`(_ bad: BadEvent) throws {
        let outcomes = try parse(bad.json)
        #expect(outcomes.count == 1)
        let rejection = try #require(outcomes.first?.rejection)
        #expect(rejection.code == bad.code)
        #expect(rejection.field == bad.field)
        #expect(rejection.message.contains(bad.field ?? ""))
    }

    @Test(arguments: malformed)
    func `what is not JSON is refused as a whole`(_ bad: BadEvent) throws {
        let rejection = #expect(throws: EventRejection.self) { try parse(bad.json) }
        #expect(rejection?.code == bad.code)
        #expect(rejection?.field == nil)
    }

    @Test(arguments: required + measurements + others + hostile)
    func `a bad event in an array spoils only itself`(_ bad: BadEvent) throws {
        let outcomes = try parse("[\(good.json), \(bad.json) ,\n\(good.json)]")
        #expect(outcomes.map(\.isGood) == [true, false, true])
        #expect(outcomes[1].rejection?.code == bad.code)
        #expect(outcomes[1].rejection?.field == bad.field)
    }

    /// Whatever is posted together, an event's answer is its own.
    @Test(arguments: 0..<20 as Range<UInt64>)
    func `bad events among good ones harm nobody`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let parser = EventParser()
        let bad = (required + measurements + others + hostile).shuffled(using: &random)
        var posted: [BadEvent?] = bad
        for _ in bad { posted.insert(nil, at: Int.random(in: 0...posted.count, using: &random)) }
        let texts = posted.map { $0?.json ?? good.json }
        for (body, form) in [
            ("[" + texts.joined(separator: ",") + "]", EventParser.Form.json),
            (texts.joined(separator: "\n"), .lines),
        ] {
            let outcomes = try parse(Array(body.utf8), as: form, parser: parser)
            #expect(outcomes.count == posted.count, "seed \(seed)")
            for (outcome, bad) in zip(outcomes, posted) {
                #expect(
                    outcome.rejection?.code == bad?.code, "seed \(seed): \(bad?.name ?? "good")")
                #expect(outcome.rejection?.field == bad?.field, "seed \(seed)")
            }
        }
    }

    @Test func `the event of the documentation is accepted`() throws {
        let event = try #require(try parse(good.json).first).get()
        #expect(event.id.description == "550e8400-e29b-41d4-a716-446655440000")
        #expect(event.clientID == "probe-001")
        #expect(event.target == "https://api.example.com")
        #expect(event.measuredAtMilliseconds == 1_703_347_200_000)
        #expect(
            event.context
                == NetworkContext(
                    networkType: "wifi", isp: "Example ISP", asn: 64500, region: "eu-west"))
        #expect(event.metrics[.dns]?.millionths == 15_300_000)
        #expect(event.metrics[.throughput]?.millionths == 95_400_000)
        #expect(event.metrics[.rtt] == nil)
        #expect(event.errorStage == nil)
        #expect(event.sequence == nil)
    }

    @Test(arguments: [
        ("a higher version", good.with("schema_version", "2")),
        ("an integer written as 1.0", good.with("schema_version", "1.0")),
        ("an integer written with an exponent", good.with("ts_ms", "17033472e5")),
        ("an upper-case UUID", good.with("event_id", "\"550E8400-E29B-41D4-A716-446655440000\"")),
        ("exactly 5 minutes ahead", good.with("ts_ms", "\(now + 300_000)")),
        (
            "exactly as old as the retention",
            good.with("ts_ms", "\(now - EventLimits.retentionMillisecondsDefault)")
        ),
        ("the longest names", good.with("client_id", text(255)).with("target", text(255))),
        ("no measurements", good.with("timing_measurements", nil)),
        ("null objects", good.with("timing_measurements", "null").with("network_context", "null")),
        ("empty objects", good.with("timing_measurements", "{}").with("network_context", "{}")),
        ("unknown members", good.with("x", #"{"y":[1,-2.5e-3,true,false,null,"\u00e9",{}]}"#)),
        ("an unknown member twice", good.with("x", "1").repeating("x", "2")),
        (
            "16 levels",
            good.with("x", String(repeating: "[", count: 15) + String(repeating: "]", count: 15))
        ),
        ("the server's own stamp", good.with("recv_ts_ms", "\"whatever\"")),
        ("a null session", good.with("session_id", "null").with("seq", "null")),
    ])
    func `a good event is accepted`(_ name: String, _ members: Members) throws {
        let outcome = try #require(try parse(members.json).first)
        #expect(outcome.isGood, "\(name): \(outcome)")
    }

    @Test(
        arguments: [
            ("0", 0), ("-0", 0), ("-0.0", 0), ("0.0000004", 0), ("0.0000005", 1),
            ("1E2", 100_000_000),
            ("0.1e+1", 1_000_000), ("3600000", 3_600_000_000_000),
            ("15.300000000000001", 15_300_000),
            ("123456.654321", 123_456_654_321), ("0.0000000000000000000000000001e28", 1_000_000),
        ] as [(String, UInt64)])
    func `a number is read exactly`(_ json: String, _ millionths: UInt64) throws {
        let event = try #require(try parse(metric("dns_ms", json).json).first).get()
        #expect(event.metrics[.dns]?.millionths == millionths)
    }

    @Test(arguments: [
        (#""\"\\\/""#, "\"\\/"), (#""\u00e9""#, "é"), (#""\ud83d\ude80""#, "\u{1F680}"),
        (#""\u6771a""#, "東a"), ("\"東京 \u{1F680}\"", "東京 \u{1F680}"), ("\"\u{A0}\"", "\u{A0}"),
    ])
    func `a name keeps its bytes`(_ json: String, _ text: String) throws {
        let event = try #require(try parse(good.with("client_id", json).json).first).get()
        #expect(Array(event.clientID.text.utf8) == Array(text.utf8))
    }

    @Test func `bytes that are not UTF-8 are refused`() throws {
        for bad: [UInt8] in [
            [0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xE2, 0x82], [0xF5, 0x80],
        ] {
            let json = Array(#"{"client_id":"a"#.utf8) + bad + Array(#""}"#.utf8)
            let rejection = #expect(throws: EventRejection.self) { try parse(json) }
            #expect(rejection?.code == .invalidRequest)
        }
    }

    @Test func `a message says what a field must be`() throws {
        let rejection = try #require(try parse(metric("dns_ms", "-1").json).first?.rejection)
        #expect(
            rejection.message == "timing_measurements.dns_ms must be a number from 0 to 3600000")
        let missing = try #require(try parse(good.with("event_id", nil).json).first?.rejection)
        #expect(missing.message == "event_id is required and must be a UUID of 36 characters")
    }

    @Test func `a message says where a body stops being JSON`() throws {
        let rejection = #expect(throws: EventRejection.self) { try parse(#"{"a":1,"b":tru}"#) }
        #expect(rejection?.message == "the body is not JSON, at byte 11 of the body")
    }

    @Test func `a client the poster may not speak for is refused`() throws {
        let outcomes = try parse(Array(good.json.utf8), mayPost: { _ in false })
        let rejection = try #require(outcomes.first?.rejection)
        #expect(rejection.code == .forbidden)
        #expect(rejection.field == "client_id")
    }
}

extension Outcome {
    var isGood: Bool { (try? get()) != nil }

    var rejection: EventRejection? {
        if case .failure(let rejection) = self { rejection } else { nil }
    }
}

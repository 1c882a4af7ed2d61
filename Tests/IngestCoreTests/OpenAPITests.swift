import EventParsing
import Gzip
import IngestCore
import PrivateServers
import ServiceKit
import TestKit
import Testing

/// The description of the API against what really happens, in both directions.
@Suite(.serialized) struct OpenAPITests {
    // MARK: - Paths, methods and codes

    @Test func `every path and method is described, and every described one is there`()
        async throws
    {
        try await withIngest { ingest in
            let document = try ingest.description()
            let paths = try #require(document["paths"]).members
            #expect(paths.count == 8)
            let all = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]
            for (path, item) in paths {
                for method in all {
                    let response = try ingest.ask(method, path)
                    if item[method.lowercased()] != nil {
                        #expect(![404, 405].contains(response.status), "\(method) \(path)")
                    } else {
                        #expect(response.status == 405, "\(method) \(path)")
                        let allowed = try #require(response.headers["allow"])
                            .split(separator: ", ").map { $0.lowercased() }
                        #expect(Set(allowed) == Set(item.members.keys))
                    }
                }
            }
            // The refusals name all paths that there are.
            let missing = try ingest.get("/nothing")
            #expect(missing.status == 404)
            for path in paths.keys where !path.hasPrefix("/api/") {
                #expect(missing.body.contains(path))
            }
        }
    }

    @Test func `the document is the same at each request, and HEAD leaves it out`() async throws {
        try await withIngest { ingest in
            let first = try ingest.get("/openapi.json")
            #expect(first.status == 200)
            #expect(first.headers["content-type"] == "application/json")
            #expect(try ingest.get("/openapi.json?x").body == first.body)
            let head = try ingest.ask("HEAD", "/openapi.json")
            #expect(head.status == 200)
            #expect(head.headers["content-length"] == first.headers["content-length"])
            #expect(
                ingest.metrics.render().contains(
                    #"qoe_ingest_requests_total{route="openapi",status="2xx"} 3"#))
        }
    }

    @Test func `every reference leads somewhere and every operation has a name of its own`()
        async throws
    {
        let document = try Self.document()
        let schema = JSONSchema(document: document)
        func check(_ value: JSON) {
            if value["$ref"] != nil { #expect(schema.resolved(value) != .null, "\(value.json)") }
            for member in value.members.values { check(member) }
            for element in value.elements { check(element) }
        }
        check(document)
        let names = document["paths"]?.members.values.flatMap { item in
            item.members.values.compactMap { $0["operationId"]?.string }
        }
        #expect(Set(names ?? []).count == 12)
        #expect(names?.count == 12)
    }

    @Test func `every code is described with its status, and every described code exists`()
        async throws
    {
        let document = try Self.document()
        let code = try #require(document["components"]?["schemas"]?["Code"])
        let all = RejectionCode.allCases.map(\.rawValue)
        #expect(try #require(code["enum"]).strings == all)
        #expect(code["x-statuses"]?.members.keys.sorted() == all.sorted())
        // Each is in the answer with its status, somewhere.
        var described: Set<String> = []
        func note(_ response: JSON, status: Int?) throws {
            let parts = response.json(of: "allOf")
            let codes = parts.flatMap {
                $0["properties"]?["error"]?["properties"]?["code"]?["enum"]?.strings ?? []
            }
            for one in codes {
                described.insert(one)
                let known = code["x-statuses"]?[one]?.int
                if let status { #expect(known == status, "\(one)") }
            }
        }
        for item in try #require(document["paths"]).members.values {
            for operation in item.members.values {
                for (status, response) in operation["responses"]?.members ?? [:] {
                    let response = JSONSchema(document: document).resolved(response)
                    try note(response, status: Int(status))
                }
            }
        }
        for response in document["components"]?["responses"]?.members.values ?? [:].values {
            try note(response, status: nil)
        }
        #expect(described == Set(all))
    }

    // MARK: - Answers

    @Test func `every described answer to POST events is given, in the described form`()
        async throws
    {
        let settings = [
            "request-timeout": "500ms", "max-body-bytes": "64KiB", "rate-burst": "1s",
            "client-events-per-second": "1000", "max-batch-events": "3000",
        ]
        try await withIngest(settings: settings) { ingest in
            let document = try ingest.description()
            var given: [Int: [HTTPClient.Response]] = [:]
            func note(_ response: HTTPClient.Response) {
                given[response.status, default: []].append(response)
            }
            let reader = try TokenFile.create(name: "r", role: .read, in: ingest.tokensFile)
            try ingest.ingest.reloadTokens(from: TokenFiles(tokens: ingest.tokensFile))
            let good = eventJSON()
            let bad = eventJSON(dns: "-1")
            note(try ingest.post(good))
            note(try ingest.post("[\(good),\(bad)]"))
            note(try ingest.post("\(good)\n\(bad)\n", type: "application/x-ndjson"))
            note(try ingest.post(bad))
            note(try ingest.post("[\(bad)]"))
            note(try ingest.post("[]"))
            note(try ingest.post("{"))
            note(try ingest.post(good, token: "no"))
            note(try ingest.post(good, token: reader))
            note(try ingest.post(good, type: "text/plain"))
            note(try ingest.post("[" + String(repeating: " ", count: 70_000) + "]"))
            note(try ingest.post(good, extra: "X: \(String(repeating: "a", count: 20_000))\r\n"))
            let slow = try HTTPClient(port: ingest.port)
            try slow.send(ingest.head(length: 100) + "{")
            note(try slow.response())
            // A burst passes as a whole, and what follows waits until it is made up for.
            let many = Array(repeating: "{}", count: 200).joined(separator: ",")
            #expect(try ingest.post("[\(many)]").status == 400)
            let burst = Array(
                repeating:
                    #"{"schema_version":1,"event_id":"\#(Self.id)","client_id":"fast","target":"t","ts_ms":\#(nowMilliseconds())}"#,
                count: 500
            ).joined(separator: ",")
            for _ in 0..<20 {
                let response = try ingest.post("[\(burst)]")
                note(response)
                if response.status == 429 { break }
            }
            try ingest.nats.kill()
            try await waitUntilNotReady(ingest.health)
            note(try ingest.post(good))
            try Self.check(given, path: "/events", method: "post", document)
        }
    }

    @Test func `what a token may not say for a client is answered as described`() async throws {
        try await withIngest { ingest in
            let document = try ingest.description()
            let token = try TokenFile.create(
                name: "one", clients: ["other"], in: ingest.tokensFile)
            try ingest.ingest.reloadTokens(from: TokenFiles(tokens: ingest.tokensFile))
            let responses = [
                try ingest.post(eventJSON(), token: token),
                try ingest.post("[\(eventJSON())]", token: token),
            ]
            #expect(responses.map(\.status) == [403, 403])
            for response in responses {
                try Self.check(response, path: "/events", method: "post", document)
            }
        }
    }

    @Test func `the other paths answer as described`() async throws {
        try await withIngest { ingest in
            let document = try ingest.description()
            for path in ["/health", "/ready", "/openapi.json"] {
                try Self.check(ingest.get(path), path: path, method: "get", document)
            }
            let time = "/api/v1/time"
            let client = try ingest.connect()
            try client.send(ingest.head("GET", time, length: 0, type: nil))
            try Self.check(client.response(), path: time, method: "get", document)
            try Self.check(ingest.get(time), path: time, method: "get", document)
            let bodies = [
                #"{"client_id":"a","ts_ms":1}"#, #"{"client_id":"a","ts_ms":-1}"#,
                #"{"client_id":"a"}"#, #"{"client_id":"","ts_ms":1}"#, "[]", "{",
                #"{"client_id":"a","ts_ms":1,"hostname":"\#(String(repeating: "a", count: 70_000))"}"#,
            ]
            for body in bodies {
                let response = try ingest.post(body, to: "/heartbeats")
                try Self.check(response, path: "/heartbeats", method: "post", document)
            }
            try ingest.nats.kill()
            try await waitUntilNotReady(ingest.health)
            try Self.check(ingest.get("/ready"), path: "/ready", method: "get", document)
            let lost = try ingest.post(bodies[0], to: "/heartbeats")
            #expect(lost.status == 503)
            try Self.check(lost, path: "/heartbeats", method: "post", document)
            // Paths and methods that are not described.
            let components = try #require(document["components"]?["responses"])
            try Self.check(
                ingest.get("/nothing"), against: try #require(components["NotFound"]), document)
            try Self.check(
                ingest.get("/events"), against: try #require(components["MethodNotAllowed"]),
                document)
        }
    }

    @Test func `the examples of answers have the form that is described`() async throws {
        let document = try Self.document()
        let schema = JSONSchema(document: document)
        var count = 0
        for item in try #require(document["paths"]).members.values {
            for operation in item.members.values {
                for response in operation["responses"]?.members.values ?? [:].values {
                    let content = schema.resolved(response)["content"]?["application/json"]
                    for example in content?["examples"]?.members.values ?? [:].values {
                        let value = try #require(example["value"])
                        let form = try #require(content?["schema"])
                        #expect(schema.strictProblems(value, form) == [])
                        count += 1
                    }
                }
            }
        }
        #expect(count > 40)
    }

    // MARK: - Requests

    @Test func `the examples of requests are accepted`() async throws {
        try await withIngest { ingest in
            let document = try ingest.description()
            let schema = JSONSchema(document: document)
            for (path, item) in try #require(document["paths"]).members {
                guard let content = item["post"]?["requestBody"]?["content"] else { continue }
                for (type, media) in content.members {
                    for example in media["examples"]?.members.values ?? [:].values {
                        let value = try #require(example["value"])
                        #expect(
                            schema.strictProblems(value, try #require(media["schema"])) == [])
                        let text =
                            type == "application/x-ndjson" ? value.string ?? "" : value.json
                        let response = try ingest.post(text, to: path, type: type)
                        #expect(response.status == 202, "\(response.body)")
                        #expect(!response.body.contains("\"index\""))
                        let packed = try ingest.postGzip(text, to: path, type: type)
                        #expect(packed.status == 202, "\(packed.body)")
                    }
                }
            }
        }
    }

    @Test func `events are accepted exactly when the description allows them`() async throws {
        try await withIngest { ingest in
            let document = try ingest.description()
            var event = try #require(Self.example("/events", "event", document))
            event["session_id"] = .text(Self.id)
            event["seq"] = .number(1)
            for name in ["network_context", "timing_measurements"] {
                #expect(event[name] != nil)
            }
            try Self.compare(event, "Event", "/events", ingest, document)
        }
    }

    @Test func `heartbeats are accepted exactly when the description allows them`() async throws {
        try await withIngest { ingest in
            let document = try ingest.description()
            let heartbeat = try #require(Self.example("/heartbeats", "heartbeat", document))
            try Self.compare(heartbeat, "Heartbeat", "/heartbeats", ingest, document)
        }
    }

    @Test func `the limits of a request are those that are described`() async throws {
        let settings = [
            "max-body-bytes": "96KiB", "max-inflated-bytes": "128KiB", "max-batch-events": "50",
            "max-event-bytes": "2KiB",
        ]
        try await withIngest(settings: settings) { ingest in
            let document = try ingest.description()
            func limit(_ name: String) throws -> Int {
                try #require(document["x-limits"]?[name]?.int, "\(name)")
            }
            func padded(_ text: String, to count: Int) -> String {
                String(repeating: " ", count: count - text.utf8.count) + text
            }
            func long(_ count: Int, _ start: String) -> String {
                let start = start.dropLast() + #","x":""#
                return start + String(repeating: "a", count: count - start.utf8.count - 2) + #""}"#
            }
            let event = eventJSON()
            let body = try limit("bodyBytes")
            #expect(try ingest.post(padded(event, to: body)).status == 202)
            #expect(try ingest.post(padded(event, to: body + 1)).status == 413)
            let inflated = try limit("inflatedBodyBytes")
            let loose = Self.noise(inflated)
            #expect(try ingest.postGzip(loose + event.dropFirst(0)).status == 413)
            #expect(
                try ingest.postGzip(String(loose.dropLast(event.utf8.count)) + event).status == 202)
            let count = try limit("eventsPerRequest")
            let schema = document["components"]?["schemas"]?["Batch"]
            #expect(schema?["maxItems"]?.int == count)
            for (events, status) in [(count, 202), (count + 1, 413)] {
                let batch = Array(repeating: event, count: events)
                #expect(
                    try ingest.post("[\(batch.joined(separator: ","))]").status == status)
                #expect(
                    try ingest.post(
                        batch.joined(separator: "\n"), type: "application/x-ndjson"
                    ).status == status)
            }
            let size = try limit("eventBytes")
            #expect(try ingest.post(long(size, event)).status == 202)
            #expect(try ingest.post(long(size + 1, event)).status == 413)
            let heartbeat = #"{"client_id":"a","ts_ms":1}"#
            let heartbeatSize = try limit("heartbeatBytes")
            #expect(
                try ingest.post(long(heartbeatSize, heartbeat), to: "/heartbeats").status == 202)
            #expect(
                try ingest.post(long(heartbeatSize + 1, heartbeat), to: "/heartbeats").status
                    == 413)
            // The clock goes on meanwhile, so a second is left to it.
            let oldest = Int64(try limit("oldestEventMilliseconds"))
            let ahead = Int64(try limit("aheadOfClockMilliseconds"))
            for (offset, status) in [
                (-oldest + 10_000, 202), (-oldest - 10_000, 400), (ahead - 10_000, 202),
                (ahead + 60_000, 400),
            ] {
                let event = eventJSON(timestamp: nowMilliseconds() + offset)
                #expect(try ingest.post(event).status == status)
            }
        }
    }

    @Test func `the limits of a head are those that are described`() async throws {
        try await withIngest { ingest in
            let limits = try #require(try ingest.description()["x-limits"])
            func status(_ fields: String) throws -> Int {
                let client = try HTTPClient(port: ingest.port)
                try client.send("GET /health HTTP/1.1\r\nHost: a\r\n\(fields)\r\n")
                return try client.response().status
            }
            let count = try #require(limits["headerFields"]?.int)
            func fields(_ count: Int) -> String { (0..<count).map { "X-\($0): a\r\n" }.joined() }
            #expect(try status(fields(count - 1)) == 200)
            #expect(try status(fields(count)) == 431)
            let field = try #require(limits["headerFieldBytes"]?.int)
            #expect(try status("X: \(String(repeating: "a", count: field - 100))\r\n") == 200)
            #expect(try status("X: \(String(repeating: "a", count: field + 1))\r\n") == 431)
            let all = try #require(limits["headerBytes"]?.int)
            let four = { (count: Int) in
                (0..<4).map { "X-\($0): \(String(repeating: "a", count: count))\r\n" }.joined()
            }
            #expect(try status(four(all / 4 - 100)) == 200)
            #expect(try status(four(all / 4)) == 431)
        }
    }

    // MARK: - As configured

    @Test(arguments: [
        ([:], #"[{"bearer":[]}]"#, "[]"),
        (["tls-client-ca-file": "/ca"], #"[{"bearer":[]},{"mutualTLS":[]}]"#, "[]"),
        (
            ["tls-client-ca-file": "/ca", "tls-client-certificates": "required"],
            #"[{"bearer":[],"mutualTLS":[]},{"mutualTLS":[]}]"#, #"[{"mutualTLS":[]}]"#
        ),
    ])
    func `certificates are described where they are asked for`(
        _ settings: [String: String], _ posting: String, _ reading: String
    ) throws {
        let files = ["tls-certificate-file": "/c", "tls-key-file": "/k"]
        let document = try Self.document(files.merging(settings) { $1 })
        let paths = document["paths"]
        #expect(paths?["/events"]?["post"]?["security"]?.json == posting)
        #expect(paths?["/health"]?["get"]?["security"]?.json == reading)
        let schemes = document["components"]?["securitySchemes"]?.members.keys.sorted()
        #expect(schemes == (settings.isEmpty ? ["bearer"] : ["bearer", "mutualTLS"]))
    }

    // MARK: - Support

    private static let id = "550e8400-e29b-41d4-a716-446655440000"

    /// As an ingest with these settings would make it.
    private static func document(_ settings: [String: String] = [:]) throws -> JSON {
        let values = ["tokens-file": "/tokens"].merging(settings) { $1 }
        let configuration = IngestConfiguration(
            try Settings(IngestConfiguration.settings, values: values), coreCount: 1)
        return try JSON(
            OpenAPIDocument(configuration, nowMilliseconds: nowMilliseconds()).text)
    }

    private static func example(_ path: String, _ name: String, _ document: JSON) -> JSON? {
        let content = document["paths"]?[path]?["post"]?["requestBody"]?["content"]
        return content?["application/json"]?["examples"]?[name]?["value"]
    }

    /// Checks that the described statuses are those that were given, and every answer's form.
    private static func check(
        _ given: [Int: [HTTPClient.Response]], path: String, method: String, _ document: JSON
    ) throws {
        let described = try #require(document["paths"]?[path]?[method]?["responses"]).members.keys
        #expect(given.keys.sorted() == described.compactMap { Int($0) }.sorted())
        for response in given.values.joined() {
            try check(response, path: path, method: method, document)
        }
    }

    private static func check(
        _ response: HTTPClient.Response, path: String, method: String, _ document: JSON
    ) throws {
        let responses = document["paths"]?[path]?[method]?["responses"]
        let described = try #require(
            responses?["\(response.status)"], "\(response.status) \(response.body)")
        try check(response, against: described, document)
    }

    private static func check(
        _ response: HTTPClient.Response, against described: JSON, _ document: JSON
    ) throws {
        let schema = JSONSchema(document: document)
        let described = schema.resolved(described)
        let form = try #require(described["content"]?["application/json"]?["schema"])
        let body = try JSON(response.body)
        // Of a document of any members nothing is known.
        let problems =
            form["type"] == nil
            ? schema.strictProblems(body, form) : schema.judge(body, form).problems
        #expect(problems == [], "\(response.status) \(response.body.prefix(500))")
        for (name, header) in described["headers"]?.members ?? [:] {
            let header = schema.resolved(header)
            let value = try #require(response.headers[name.lowercased()], "\(name)")
            let isInteger = header["schema"]?["type"]?.string == "integer"
            #expect(!isInteger || Int(value) != nil, "\(name): \(value)")
        }
    }

    /// Posts the value with each of its members at, below and above what the description allows.
    private static func compare(
        _ value: JSON, _ name: String, _ path: String, _ ingest: RunningIngest, _ document: JSON
    ) throws {
        let schema = JSONSchema(document: document)
        let form = try #require(document["components"]?["schemas"]?[name])
        var counts = [true: 0, false: 0]
        func compare(_ candidate: JSON) throws {
            let isAllowed = schema.isValid(candidate, form)
            let response = try ingest.post(candidate.json, to: path)
            #expect(
                (response.status == 202) == isAllowed,
                "\(response.body) \(candidate.json.prefix(600))")
            counts[isAllowed, default: 0] += 1
        }
        try compare(value)
        for (member, rule) in form["properties"]?.members ?? [:] {
            // The server's clock, and what only the server knows.
            if rule["readOnly"] != nil { continue }
            var without = value
            without[member] = nil
            try compare(without)
            for other in member == "ts_ms" ? [.null, .text("1")] : candidates(rule) {
                var candidate = value
                candidate[member] = other
                try compare(candidate)
            }
            for (innerName, innerRule) in rule["properties"]?.members ?? [:] {
                for other in candidates(innerRule) {
                    var candidate = value
                    candidate[member]?[innerName] = other
                    try compare(candidate)
                }
            }
        }
        #expect(counts[true, default: 0] > 30 && counts[false, default: 0] > 40, "\(counts)")
    }

    /// Values at the bounds of a schema and beyond them.
    private static func candidates(_ rule: JSON) -> [JSON] {
        var all: [JSON] = [.null, .boolean(true), .array([.null]), .number(0.5), .text("nonsense")]
        for bound in [rule["minimum"]?.double, rule["maximum"]?.double] {
            guard let bound else { continue }
            all += [bound, bound - 1, bound + 1, bound + 0.25, bound * 2, bound - 2, bound + 2]
                .map(JSON.number)
        }
        for bound in [rule["minLength"]?.int, rule["maxLength"]?.int] {
            guard let bound else { continue }
            all += [bound - 1, bound, bound + 1].filter { $0 >= 0 }
                .map { .text(String(repeating: "a", count: $0)) }
        }
        if rule["pattern"] != nil {
            all += ["a\u{7}", "\u{85}", "a\n", "é", id, id.uppercased(), "{\(id)}", "\(id)0"]
                .map(JSON.text)
        }
        all += rule["enum"]?.elements ?? []
        if let most = rule["maxItems"]?.int, let item = rule["items"] {
            all += [0, most, most + 1]
                .map { .array(Array(repeating: .text("a"), count: $0)) }
            all += candidates(item).map { .array([$0]) }
        }
        if let most = rule["maxProperties"]?.int {
            all += [0, most, most + 1].map { count in
                .object(
                    Dictionary(uniqueKeysWithValues: (0..<count).map { ("l\($0)", .text("a")) }))
            }
            let names = rule["propertyNames"].map(candidates) ?? []
            all += names.compactMap(\.string).map { .object([$0: .text("a")]) }
            all += (rule["additionalProperties"].map(candidates) ?? []).map { .object(["l": $0]) }
        }
        return all
    }

    /// White space that gzip cannot make small.
    private static func noise(_ count: Int) -> String {
        var random = SeededGenerator(seed: 1)
        return String(
            decoding: (0..<count).map { _ in
                [UInt8(ascii: " "), 9, 10, 13][Int(random.next() % 4)]
            }, as: UTF8.self)
    }
}

extension RunningIngest {
    fileprivate func description() throws -> JSON {
        try JSON(get("/openapi.json").body)
    }

    fileprivate func ask(_ method: String, _ path: String) throws -> HTTPClient.Response {
        let client = try HTTPClient(port: port)
        try client.send("\(method) \(path) HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
        return try client.response(toHead: method == "HEAD")
    }

    fileprivate func postGzip(
        _ text: String, to path: String = "/events", type: String = "application/json"
    ) throws -> HTTPClient.Response {
        let deflater = try GzipDeflater()
        var body: [UInt8] = []
        Array(text.utf8).withUnsafeBytes { deflater.deflate($0) { body += $0 } }
        deflater.finish { body += $0 }
        let client = try HTTPClient(port: port)
        try client.send(
            head("POST", path, length: body.count, type: type, extra: "Content-Encoding: gzip\r\n"))
        try client.send(body)
        return try client.response()
    }
}

extension JSON {
    /// The parts of the schema of a described answer.
    fileprivate func json(of keyword: String) -> [JSON] {
        self["content"]?["application/json"]?["schema"]?[keyword]?.elements ?? []
    }
}

private func waitUntilNotReady(_ health: HealthRegistry) async throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while health.isReady {
        guard .now < deadline else { throw HTTPClient.Problem(description: "still ready") }
        try await Task.sleep(for: .milliseconds(5))
    }
}

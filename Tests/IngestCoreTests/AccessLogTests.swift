import FoundationEssentials
import Glibc
import IngestCore
import PrivateServers
import ServiceKit
import TestKit
import Testing

@Suite(.serialized) struct AccessLogTests {
    private struct Line: Decodable {
        var time: String
        var source: String?
        var method: String?
        var path: String?
        var status: Int
        var request_bytes: Int
        var response_bytes: Int
        var duration_ms: Double
        var user_agent: String?
        var caller: String?
        var client: String?
        var error: String?
    }

    private func lines(_ path: String) throws -> [Line] {
        let text = try String(contentsOfFile: path, encoding: .utf8)
        return try text.split(separator: "\n").map {
            try JSONDecoder().decode(Line.self, from: Data($0.utf8))
        }
    }

    /// Runs `body` with an ingest that logs, and gives the lines when it has ended.
    private func withLog(
        _ settings: [String: String] = [:], _ body: (RunningIngest, String) async throws -> Void
    ) async throws -> [Line] {
        try await withTemporaryFolder { folder in
            let path = "\(folder)/access.log"
            try await withIngest(settings: settings.merging(["access-log": path]) { $1 }) {
                try await body($0, path)
            }
            return try lines(path)
        }
    }

    @Test func `each answer has its line`() async throws {
        var caller = ""
        let length = eventJSON().utf8.count
        let lines = try await withLog(["threads": "1"]) { ingest, _ in
            caller = try #require(try TokenFile.list(in: ingest.tokensFile).first?.id)
            _ = try ingest.post(eventJSON(), extra: "User-Agent: probe/1.0\r\n")
            _ = try ingest.post(eventJSON(), token: "no")
            _ = try ingest.get("/none?x=1")
            let bad = try HTTPClient(port: ingest.port)
            try bad.send("nonsense\r\n\r\n")
            _ = try bad.response()
            try ingest.nats.kill()
            _ = try ingest.post(eventJSON())
        }
        #expect(lines.map(\.status) == [202, 401, 404, 400, 503])
        #expect(lines.map(\.method) == ["POST", "POST", "GET", nil, "POST"])
        #expect(lines.map(\.path) == ["/events", "/events", "/none?x=1", nil, "/events"])
        #expect(
            lines.map(\.error) == [
                nil, "unauthorized", "not_found", "invalid_request", "service_unavailable",
            ])
        #expect(lines.map(\.request_bytes).prefix(4) == [length, length, 0, 0])
        #expect(lines.allSatisfy { $0.response_bytes > 0 && $0.duration_ms >= 0 })
        #expect(lines.allSatisfy { $0.source == "127.0.0.1" })
        #expect(lines.first?.user_agent == "probe/1.0")
        #expect(lines.first?.caller == caller)
        #expect(lines.first?.client == "probe-001")
        #expect(lines[1].caller == nil)
    }

    @Test func `nothing that a client sends breaks a line`() async throws {
        let agent = "a\"b\\c\u{9b}31m\u{202e}\tend"
        var text = ""
        _ = try await withLog { ingest, path in
            let client = try HTTPClient(port: ingest.port)
            try client.send(
                "GET /a\"b\\c HTTP/1.1\r\nHost: test\r\nUser-Agent: \(agent)\r\n\r\n"
                    + "GET /x HTTP/1.1\r\nHost: test\r\nUser-Agent: ")
            // No UTF-8, and a letter of 4 KiB.
            try client.send([0xff, 0x9b, 0xc3] + Array("e".utf8))
            try client.send(String(repeating: "\u{301}", count: 2000) + "\r\n\r\n")
            #expect(try client.response().status == 404)
            #expect(try client.response().status == 404)
            await ingest.ingest.drain()
            #expect(
                eventually {
                    text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
                    return text.split(separator: "\n").count == 2
                })
        }
        #expect(!text.unicodeScalars.contains { $0.value < 0x20 && $0 != "\n" })
        #expect(!text.unicodeScalars.contains { ["\u{9b}", "\u{202e}"].contains($0) })
        #expect(text.contains(#""path":"/a\"b\\c""#))
        #expect(text.contains(#""user_agent":"a\"b\\c\u009b31m\u202e\tend""#))
        #expect(text.split(separator: "\n").allSatisfy { $0.utf8.count < 1000 })
    }

    @Test func `a thousand pipelined requests have their lines, in order, when it has drained`()
        async throws
    {
        let lines = try await withLog { ingest, _ in
            let client = try HTTPClient(port: ingest.port)
            let body = eventJSON()
            try client.send(
                (0..<1000).map {
                    ingest.head("POST", "/events?\($0)", length: body.utf8.count) + body
                }.joined())
            for _ in 0..<1000 { #expect(try client.response().status == 202) }
        }
        #expect(lines.map(\.path) == (0..<1000).map { "/events?\($0)" })
    }

    @Test func `a client that does not wait has a line as well`() async throws {
        let lines = try await withLog { ingest, _ in
            ingest.nats.pause()
            defer { ingest.nats.resume() }
            try {
                let client = try HTTPClient(port: ingest.port)
                let body = eventJSON()
                try client.send(ingest.head(length: body.utf8.count) + body)
                #expect(eventually { (ingest.metric("qoe_ingest_inflight_bytes") ?? 0) > 0 })
                client.resetsAtEnd()
            }()
            #expect(eventually { ingest.metric("qoe_ingest_requests_abandoned_total") == 1 })
        }
        #expect(lines.map(\.status) == [499])
    }

    @Test func `a renamed file is left for a new one`() async throws {
        let lines = try await withLog { ingest, path in
            #expect(try ingest.get("/health").status == 200)
            #expect(eventually { (try? self.lines(path).count) == 1 })
            #expect(rename(path, "\(path).1") == 0)
            try ingest.ingest.reloadFiles(
                IngestConfiguration(
                    Settings(IngestConfiguration.settings, values: [:]), coreCount: 1))
            #expect(eventually { access(path, F_OK) == 0 })
            #expect(try ingest.get("/ready").status == 200)
            #expect(try self.lines("\(path).1").map(\.path) == ["/health"])
        }
        #expect(lines.map(\.path) == ["/ready"])
    }

    @Test func `a file that cannot be written is counted and costs nobody an answer`() async throws
    {
        for path in ["/dev/full", "/none/such/access.log"] {
            try await withIngest(settings: ["access-log": path]) { ingest throws in
                for _ in 0..<3 { #expect(try ingest.post(eventJSON()).status == 202) }
                let failures = "qoe_ingest_access_log_write_failures_total"
                #expect(eventually { (ingest.metric(failures) ?? 0) > 0 })
                #expect(
                    eventually { ingest.metric("qoe_ingest_access_log_lines_dropped_total") == 3 })
            }
        }
    }
}

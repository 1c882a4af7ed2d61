import IngestCore
import PrivateServers
import ServiceKit
import Telemetry
import TestKit
import Testing

@Suite(.serialized) struct PipeliningTests {
    private static func id(_ index: Int) -> String {
        "550e8400-e29b-41d4-a716-\(446_655_440_000 + index)"
    }

    private static func event(_ index: Int, _ ingest: RunningIngest, extra: String = "") -> String {
        let body = eventJSON(id: id(index))
        return ingest.head(length: body.utf8.count, extra: extra) + body
    }

    @Test(arguments: Door.allCases)
    func `a thousand requests of all kinds in one write are answered in order`(_ door: Door)
        async throws
    {
        try await withIngest(door) { ingest in
            var text = ""
            for index in 0..<1000 {
                let heartbeat = #"{"client_id":"probe-\#(index)","ts_ms":5}"#
                switch index % 5 {
                case 0: text += ingest.head(length: 3, token: "no") + "abc"
                case 1: text += ingest.head(length: 3) + "abc"
                case 2:
                    text += ingest.head("POST", "/heartbeats", length: heartbeat.utf8.count)
                    text += heartbeat
                case 3: text += "GET /health?\(index) HTTP/1.1\r\nHost: test\r\n\r\n"
                default: text += Self.event(index, ingest)
                }
            }
            let client = try ingest.connect()
            try client.send(text)
            for index in 0..<1000 {
                let response = try client.response()
                #expect(response.status == [401, 400, 202, 200, 202][index % 5], "\(index)")
                if index % 5 == 4 { #expect(response.body.contains(Self.id(index))) }
            }
            #expect(try ingest.storedEvents().count == 200)
            #expect(try ingest.storedHeartbeats().count == 200)
        }
    }

    @Test func `NATS may go and come while requests are under way`() async throws {
        try await withIngest(settings: ["publish-timeout": "500ms"]) { ingest in
            let client = try HTTPClient(port: ingest.port)
            func send(_ indexes: Range<Int>) throws {
                try client.send(indexes.map { Self.event($0, ingest) }.joined())
            }
            try send(0..<300)
            for _ in 0..<300 { #expect(try client.response().status == 202) }
            ingest.nats.pause()
            try send(300..<600)
            try ingest.nats.kill()
            var stored: [Int] = []
            for index in 300..<600 {
                let response = try client.response()
                #expect(response.status == 503 || response.status == 202)
                if response.status == 503 {
                    #expect(response.headers["retry-after"] != nil)
                } else {
                    #expect(response.body.contains(Self.id(index)))
                    stored.append(index)
                }
            }
            #expect(stored.count < 300)
            try ingest.nats.restart()
            try await waitUntilReady(ingest.health)
            try send(600..<900)
            for index in 600..<900 {
                let response = try client.response()
                #expect(response.status == 202)
                #expect(response.body.contains(Self.id(index)))
            }
            let ids = Set(try ingest.storedEvents().map { $0.event.id.description })
            for index in Array(0..<300) + stored + Array(600..<900) {
                #expect(ids.contains(Self.id(index)))
            }
            #expect(ingest.metric("qoe_ingest_inflight_bytes") == 0)
        }
    }

    @Test(arguments: Door.allCases)
    func `a client that never reads is read no further, and its connection ends`(_ door: Door)
        async throws
    {
        try await withIngest(door, settings: ["request-timeout": "1s"]) { ingest in
            let client =
                door == .clear
                ? try HTTPClient(port: ingest.port, receiveBytesMax: 4096) : try ingest.connect()
            let request = Array(
                String(
                    repeating: "POST /none HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n",
                    count: 1000
                ).utf8)
            var sentBytes = 0
            // Far more than the kernel holds on both sides together: only a server that reads on takes it all.
            let slow = "qoe_ingest_connections_closed_total{reason=\"slow_reader\"}"
            let hasEnded = eventually {
                while sentBytes < 256 << 20 {
                    let count = client.sendWithoutWaiting(
                        Array(request[(sentBytes % request.count)...]))
                    if count == 0 { break }
                    sentBytes += count
                }
                return ingest.metric(slow) == 1
            }
            #expect(hasEnded)
            #expect(sentBytes < 64 << 20)
            #expect(eventually { ingest.isIdle() })
        }
    }

    @Test(arguments: Door.allCases)
    func `a client that has sent all still gets every answer`(_ door: Door) async throws {
        try await withIngest(door) { ingest in
            let client = try ingest.connect()
            try client.send((0..<200).map { Self.event($0, ingest) }.joined())
            client.shutdownOutput()
            #expect(
                try client.responsesUntilClose().map(\.status) == Array(repeating: 202, count: 200))
            let cut = try ingest.connect()
            try cut.send(
                (0..<20).map { Self.event($0, ingest) }.joined() + ingest.head(length: 100) + "{")
            cut.shutdownOutput()
            #expect(
                try cut.responsesUntilClose().map(\.status)
                    == Array(repeating: 202, count: 20) + [400])
            #expect(eventually { ingest.isIdle() })
        }
    }

    @Test(arguments: Door.allCases)
    func `what is no request does not cost those before it their answers`(_ door: Door) async throws
    {
        try await withIngest(door) { ingest in
            // Held up, so that all of them wait when the nonsense comes, in more than one piece.
            ingest.nats.pause()
            defer { ingest.nats.resume() }
            let client = try ingest.connect()
            try client.send((0..<20).map { Self.event($0, ingest) }.joined())
            let malformed = "qoe_ingest_connections_closed_total{reason=\"malformed\"}"
            try client.send("nonsense\r\n\r\n")
            #expect(eventually { ingest.metric(malformed) == 1 })
            for _ in 0..<5 {
                try client.send("more\r\n\r\n" + Self.event(999, ingest))
                #expect(try ingest.get("/health").status == 200)
            }
            ingest.nats.resume()
            let statuses = try client.responsesUntilClose().map(\.status)
            #expect(statuses == Array(repeating: 202, count: 20) + [400])
            #expect(ingest.metric(malformed) == 1)
            #expect(
                ingest.metric("qoe_ingest_connections_closed_total{reason=\"failed\"}") == 0)
            #expect(try ingest.storedEvents().count == 20)
        }
    }

    @Test(arguments: Door.allCases)
    func `a client that sent far ahead of its refusal still gets it`(_ door: Door) async throws {
        try await withIngest(door) { ingest in
            let client = try ingest.connect()
            let text = (0..<70).map { Self.event($0, ingest) }.joined()
            // The server reads no further while 64 wait, and then comes what ends the connection.
            let rest = ingest.head(length: 2 << 20) + String(repeating: " ", count: 1 << 20)
            try client.send(text + rest)
            #expect(
                try client.responsesUntilClose().map(\.status)
                    == Array(repeating: 202, count: 70) + [413])
        }
    }

    @Test func `a client is not slow while the server does not read`() async throws {
        let settings = ["header-timeout": "100ms", "publish-timeout": "10s"]
        try await withIngest(settings: settings) { ingest in
            ingest.nats.pause()
            defer { ingest.nats.resume() }
            let client = try HTTPClient(port: ingest.port)
            // More than are served at the same time; the last one is in two parts.
            let text = (0..<400).map { Self.event($0, ingest) }.joined()
            let sender = Task.detached { try client.send(text) }
            let other = try HTTPClient(port: ingest.port)
            // Some header timeouts of another connection.
            try other.send("GET /hea")
            #expect(try other.response().status == 408)
            #expect(try other.isClosedByServer())
            ingest.nats.resume()
            for _ in 0..<400 { #expect(try client.response().status == 202) }
            try await sender.value
        }
    }

    @Test(arguments: Door.allCases)
    func `nothing remains of clients that reset their connections`(_ door: Door) async throws {
        try await withIngest(door) { ingest in
            ingest.nats.pause()
            defer { ingest.nats.resume() }
            for index in 0..<20 {
                let client = try ingest.connect()
                try client.send((0..<10).map { Self.event($0, ingest) }.joined())
                try client.send(String(Self.event(index, ingest).dropLast(index * 5)))
                #expect(eventually { (ingest.metric("qoe_ingest_inflight_bytes") ?? 0) > 0 })
                client.resetsAtEnd()
            }
            #expect(eventually { ingest.isIdle() })
            #expect((ingest.metric("qoe_ingest_requests_abandoned_total") ?? 0) > 0)
        }
    }

    @Test(arguments: Door.allCases)
    func `the last request of a connection says so`(_ door: Door) async throws {
        try await withIngest(door, settings: ["max-requests-per-connection": "3"]) { ingest in
            let client = try ingest.connect()
            try client.send((0..<10).map { Self.event($0, ingest) }.joined())
            let responses = try client.responsesUntilClose()
            #expect(responses.map(\.status) == [202, 202, 202])
            #expect(responses.map { $0.headers["connection"] } == [nil, nil, "close"])
            #expect(try ingest.storedEvents().count == 3)
        }
    }
}

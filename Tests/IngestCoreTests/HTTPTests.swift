import IngestCore
import OwnedThreads
import ServiceKit
import TestKit
import Testing

@Suite(.serialized) struct HTTPTests {
    @Test func `health and readiness are answered without a token`() async throws {
        try await withIngest { ingest in
            #expect(try ingest.get("/health").status == 200)
            #expect(try ingest.get("/ready").status == 200)
            let client = try HTTPClient(port: ingest.port)
            try client.send("HEAD /ready HTTP/1.1\r\nHost: test\r\n\r\n")
            #expect(try client.response(toHead: true).status == 200)
        }
    }

    @Test func `unknown paths and methods are told apart`() async throws {
        try await withIngest { ingest in
            let missing = try ingest.get("/api/v2/events")
            #expect(missing.status == 404)
            #expect(missing.body.contains(#""code":"not_found""#))
            let wrong = try ingest.get("/events")
            #expect(wrong.status == 405)
            #expect(wrong.headers["allow"] == "POST")
            #expect(try ingest.post("{}", to: "/health").headers["allow"] == "GET, HEAD")
        }
    }

    @Test func `other media types and codings are refused`() async throws {
        try await withIngest { ingest in
            #expect(try ingest.post(eventJSON(), type: "text/plain").status == 415)
            #expect(
                try ingest.post("{}", to: "/heartbeats", type: "application/x-ndjson").status == 415
            )
            for coding in ["br", "gzip, gzip", "deflate", "x-gzip"] {
                let other = try ingest.post(
                    eventJSON(), extra: "Content-Encoding: \(coding)\r\n")
                #expect(other.status == 415, "\(coding)")
                #expect(other.body.contains(#""code":"unsupported_media_type""#))
            }
            #expect(
                try ingest.post(eventJSON(), extra: "Content-Encoding: identity\r\n").status == 202)
        }
    }

    @Test func `pipelined requests are answered in their order`() async throws {
        try await withIngest { ingest in
            let client = try HTTPClient(port: ingest.port)
            var text = ""
            for index in 0..<30 {
                let id = "550e8400-e29b-41d4-a716-4466554400\(index + 10)"
                // Every third is refused before its body is read.
                let body = eventJSON(id: id)
                text += ingest.head(length: body.utf8.count, token: index % 3 == 0 ? "no" : nil)
                text += body
            }
            try client.send(text)
            for index in 0..<30 {
                let response = try client.response()
                if index % 3 == 0 {
                    #expect(response.status == 401)
                } else {
                    #expect(response.status == 202)
                    #expect(response.body.contains("4466554400\(index + 10)"))
                }
            }
            #expect(try ingest.storedEvents().count == 20)
        }
    }

    @Test func `a request in small pieces is put together`() async throws {
        try await withIngest { ingest in
            let client = try HTTPClient(port: ingest.port)
            let body = eventJSON()
            for byte in (ingest.head(length: body.utf8.count) + body).utf8 {
                try client.send([byte])
            }
            #expect(try client.response().status == 202)
        }
    }

    @Test func `a chunked body is put together`() async throws {
        try await withIngest { ingest in
            let client = try HTTPClient(port: ingest.port)
            try client.send(
                "POST /events HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer \(ingest.token)\r\n"
                    + "Transfer-Encoding: chunked\r\n\r\n")
            for part in eventJSON().split(separator: ",", omittingEmptySubsequences: false)
                .map(String.init).joined(separator: "\u{0},").split(separator: "\u{0}")
            {
                try client.send("\(String(part.utf8.count, radix: 16))\r\n\(part)\r\n")
            }
            try client.send("0\r\n\r\n")
            #expect(try client.response().status == 202)
        }
    }

    @Test func `a client that expects 100 gets it, or its refusal at once`() async throws {
        try await withIngest { ingest in
            let expect = "Expect: 100-continue\r\n"
            let body = eventJSON()
            let client = try HTTPClient(port: ingest.port)
            try client.send(ingest.head(length: body.utf8.count, extra: expect))
            #expect(try client.response().status == 100)
            try client.send(body)
            #expect(try client.response().status == 202)

            let refused = try HTTPClient(port: ingest.port)
            try refused.send(ingest.head(length: 10, token: "no", extra: expect))
            let response = try refused.response()
            #expect(response.status == 401)
            #expect(response.headers["connection"] == "close")
            #expect(try refused.isClosedByServer())
        }
    }

    @Test func `a body above the bound is refused before, while and although it comes`()
        async throws
    {
        try await withIngest(settings: ["max-body-bytes": "64KiB"]) { ingest in
            let announced = try HTTPClient(port: ingest.port)
            try announced.send(ingest.head(length: 65_537))
            let response = try announced.response()
            #expect(response.status == 413)
            #expect(response.body.contains(#""code":"payload_too_large""#))
            #expect(response.headers["connection"] == "close")
            // What the client sends all the same must not cost it the answer.
            try? announced.send([UInt8](repeating: 0x20, count: 65_537))
            announced.shutdownOutput()
            #expect(try announced.isClosedByServer())

            let chunked = try HTTPClient(port: ingest.port)
            try chunked.send(
                "POST /events HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer \(ingest.token)\r\n"
                    + "Transfer-Encoding: chunked\r\n\r\n20000\r\n")
            try chunked.send([UInt8](repeating: 0x20, count: 0x18000))
            #expect(try chunked.response().status == 413)

            let exact = eventJSON() + String(repeating: " ", count: 65_536 - eventJSON().utf8.count)
            #expect(try ingest.post(exact).status == 202)
        }
    }

    @Test func `more events than a batch may have are refused`() async throws {
        try await withIngest(settings: ["max-batch-events": "3"]) { ingest throws in
            let four = "[" + Array(repeating: eventJSON(), count: 4).joined(separator: ",") + "]"
            #expect(try ingest.post(four).status == 413)
            #expect(try ingest.storedEvents().isEmpty)
        }
    }

    @Test func `bodies beyond what all may hold are refused with Retry-After`() async throws {
        let settings = ["max-inflight-bytes": "1MiB", "max-body-bytes": "4MiB"]
        try await withIngest(settings: settings) { ingest in
            let client = try HTTPClient(port: ingest.port)
            try client.send(ingest.head(length: 3 << 20))
            try? client.send([UInt8](repeating: 0x20, count: 2 << 20))
            let response = try client.response()
            #expect(response.status == 503)
            #expect(response.headers["retry-after"] != nil)
            #expect(try ingest.post(eventJSON()).status == 202, "the bytes were given back")
        }
    }

    @Test func `what is not HTTP is refused and closed`() async throws {
        try await withIngest { ingest in
            let long = String(repeating: "a", count: 20_000)
            let many = (0..<70).map { "X-\($0): a\r\n" }.joined()
            let cases = [
                ("nonsense\r\n\r\n", 400), ("GET /health HTTP/1.1\r\n\r\n", 400),
                ("GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
                (
                    "POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                    400
                ),
                (
                    "POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
                        + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400
                ),
                ("GET /health HTTP/1.1\r\nHost: a\r\nX: \(long)\r\n\r\n", 431),
                ("GET /health HTTP/1.1\r\nHost: a\r\n\(many)\r\n", 431),
            ]
            for (text, status) in cases {
                let client = try HTTPClient(port: ingest.port)
                try client.send(text)
                let response = try client.response()
                #expect(response.status == status, "\(text.prefix(60))")
                #expect(response.headers["connection"] == "close")
                #expect(response.body.contains("\"error\":{\"code\":"))
            }
            #expect(try ingest.get("/health").status == 200)
        }
    }

    @Test func `a client that sends too slowly is told so`() async throws {
        let settings = [
            "request-timeout": "300ms", "header-timeout": "200ms", "idle-timeout": "400ms",
        ]
        try await withIngest(settings: settings) { ingest in
            let slow = try HTTPClient(port: ingest.port)
            try slow.send(ingest.head(length: 100) + "{")
            #expect(try slow.response().status == 408)
            let slowHead = try HTTPClient(port: ingest.port)
            try slowHead.send("POST /ev")
            #expect(try slowHead.response().status == 408)
            #expect(try slowHead.isClosedByServer())
            let silent = try HTTPClient(port: ingest.port)
            #expect(try silent.isClosedByServer())
            for reason in ["slow_body", "slow_head", "idle"] {
                let line = "qoe_ingest_connections_closed_total{reason=\"\(reason)\"} 1"
                #expect(ingest.metrics.render().contains(line), "\(reason)")
            }
        }
    }

    @Test func `connections beyond the bound are closed`() async throws {
        try await withIngest(settings: ["max-connections": "2"]) { ingest in
            let first = try HTTPClient(port: ingest.port)
            try first.send("GET /health HTTP/1.1\r\nHost: test\r\n\r\n")
            #expect(try first.response().status == 200)
            let second = try HTTPClient(port: ingest.port)
            try second.send("GET /health HTTP/1.1\r\nHost: test\r\n\r\n")
            #expect(try second.response().status == 200)
            let third = try HTTPClient(port: ingest.port)
            #expect(try third.isClosedByServer())
        }
    }

    @Test func `a closing client gets its answer`() async throws {
        try await withIngest { ingest in
            let client = try HTTPClient(port: ingest.port)
            let body = eventJSON()
            try client.send(
                ingest.head(length: body.utf8.count, extra: "Connection: close\r\n") + body)
            #expect(try client.response().headers["connection"] == "close")
            #expect(try client.isClosedByServer())

            let half = try HTTPClient(port: ingest.port)
            try half.send(ingest.head(length: body.utf8.count) + body)
            half.shutdownOutput()
            #expect(try half.response().status == 202)
            #expect(try half.isClosedByServer())
        }
    }

    @Test func `draining lets open requests finish and closes idle connections`() async throws {
        try await withIngest { ingest in
            // Elsewhere, since the drain needs the threads of tasks.
            try await onOwnThread("clients") {
                let idle = try HTTPClient(port: ingest.port)
                try idle.send("GET /health HTTP/1.1\r\nHost: test\r\n\r\n")
                _ = try idle.response()
                let busy = try HTTPClient(port: ingest.port)
                let body = eventJSON()
                try busy.send(
                    ingest.head(length: body.utf8.count, extra: "Expect: 100-continue\r\n"))
                #expect(try busy.response().status == 100)
                let isDrained = Monitor(false)
                Task {
                    await ingest.ingest.drain()
                    isDrained.update { $0 = true }
                }
                #expect(try idle.isClosedByServer())
                try busy.send(body)
                let response = try busy.response()
                #expect(response.status == 202)
                #expect(response.headers["connection"] == "close")
                #expect(isDrained.wait(until: .now + .seconds(60)) { $0 ? true : nil } == true)
                #expect(throws: (any Error).self) { try HTTPClient(port: ingest.port) }
            }
        }
    }
}

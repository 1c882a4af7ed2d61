import CoreMetrics
import ServiceKit
import Testing

@Suite struct MetricsServerTests {
    private static let anyPort = NetworkAddress(host: "127.0.0.1", port: 0)

    /// Runs a test against a server of its own.
    private func withServer(
        health: HealthRegistry = HealthRegistry(),
        metrics: PrometheusRegistry = PrometheusRegistry(),
        _ body: (NetworkAddress) throws -> Void
    ) async throws {
        let server = try await MetricsServer.start(
            on: Self.anyPort, setting: "metrics-listen", health: health, metrics: metrics)
        let result = Result { try body(server.address) }
        await server.stop()
        try result.get()
    }

    @Test func `health is answered whatever the dependencies are`() async throws {
        try await withServer(health: HealthRegistry(dependencies: ["nats"])) { address in
            let (status, body) = try HTTPClient.get("/health", from: address)
            #expect(status == "200")
            #expect(body == "{\"status\":\"ok\",\"version\":\"\(Build.version)\"}\n")
        }
    }

    @Test func `readiness names each failing dependency and why`() async throws {
        let health = HealthRegistry(dependencies: ["nats", "postgres"])
        try await withServer(health: health) { address in
            var answer = try HTTPClient.get("/ready", from: address)
            #expect(answer.status == "503")
            #expect(
                answer.body == """
                    {"status":"failing","dependencies":{"nats":{"status":"failing","reason":\
                    "starting"},"postgres":{"status":"failing","reason":"starting"}}}

                    """)
            #expect(health.report("nats", .ready))
            #expect(!health.report("nats", .ready))
            health.report("postgres", .failing(reason: "no \"primary\""))
            answer = try HTTPClient.get("/ready", from: address)
            #expect(answer.status == "503")
            #expect(answer.body.contains("\"nats\":{\"status\":\"ready\"}"))
            #expect(answer.body.contains("\"reason\":\"no \\\"primary\\\"\""))
            health.report("postgres", .ready)
            answer = try HTTPClient.get("/ready?verbose", from: address)
            #expect(answer.status == "200")
            health.beginShutdown()
            answer = try HTTPClient.get("/ready", from: address)
            #expect(answer.status == "503")
            #expect(answer.body.hasPrefix("{\"status\":\"shutting down\""))
        }
    }

    @Test func `metrics are served, other paths and methods are not`() async throws {
        let metrics = PrometheusRegistry()
        metrics.counter("qoe_x_total", help: "X.").increment()
        try await withServer(metrics: metrics) { address in
            let (status, body) = try HTTPClient.get("/metrics", from: address)
            #expect(status == "200")
            #expect(body == metrics.render())
            #expect(try HTTPClient.get("/", from: address).status == "404")
            #expect(try HTTPClient.get("/metrics/", from: address).status == "404")
            #expect(try HTTPClient.get("/metrics", from: address, method: "POST").status == "405")
            let head = try HTTPClient.get("/metrics", from: address, method: "HEAD")
            #expect(head.status == "200" && head.body.isEmpty)
        }
    }

    @Test func `one connection serves several requests`() async throws {
        try await withServer { address in
            let answer = try HTTPClient.exchange(
                "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
                    + "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                with: address)
            #expect(answer.contains("HTTP/1.1 200 OK") && answer.contains("HTTP/1.1 404"))
        }
    }

    @Test func `oversized and malformed requests end the connection, not the server`() async throws
    {
        try await withServer { address in
            let long = String(repeating: "a", count: 200_000)
            for request in [
                "GET /health HTTP/1.1\r\nHost: x\r\nX: \(long)\r\n\r\n",
                "GET /\(long) HTTP/1.1\r\nHost: x\r\n\r\n",
                "POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n\(long)",
                "\u{16}\u{3}\u{1}nonsense\r\n\r\n",
            ] {
                let answer = try HTTPClient.exchange(request, with: address)
                #expect(!answer.contains(" 200 "))
            }
            #expect(try HTTPClient.get("/health", from: address).status == "200")
        }
    }

    @Test func `an address in use is named, with what to do`() async throws {
        try await withServer { address in
            #expect(address.port != 0)
        }
        let first = try await MetricsServer.start(
            on: Self.anyPort, setting: "metrics-listen", health: HealthRegistry(),
            metrics: PrometheusRegistry())
        let failure = await #expect(throws: ProgramFailure.self) {
            try await MetricsServer.start(
                on: first.address, setting: "metrics-listen", health: HealthRegistry(),
                metrics: PrometheusRegistry())
        }
        await first.stop()
        #expect(failure?.exitCode == .unavailable)
        #expect(
            failure?.description == """
                --metrics-listen: \(first.address) is in use by another process; stop that one \
                ('ss -ltnp sport = :\(first.address.port)' shows it) or set --metrics-listen to \
                another address, such as 127.0.0.1:0 for any free port
                """)
    }
}

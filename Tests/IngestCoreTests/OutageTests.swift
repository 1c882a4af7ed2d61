import IngestCore
import Logging
import PrivateServers
import ServiceKit
import TestKit
import Testing

@Suite(.serialized) struct OutageTests {
    @Test func `without NATS clients are told to come back, and with it again they are served`()
        async throws
    {
        try await withIngest { ingest in
            #expect(try ingest.post(eventJSON()).status == 202)
            try ingest.nats.kill()
            let refused = try ingest.post(eventJSON())
            #expect(refused.status == 503)
            #expect(refused.headers["retry-after"] != nil)
            #expect(refused.body.contains(#""code":"service_unavailable""#))
            #expect(eventually { !ingest.health.isReady })
            #expect(try ingest.get("/ready").status == 503)
            #expect(try ingest.get("/health").status == 200)
            try ingest.nats.restart()
            #expect(eventually { ingest.health.isReady })
            #expect(try eventually { try ingest.post(eventJSON()).status == 202 })
        }
    }

    @Test func `a server that does not answer costs the publish timeout and no more`() async throws
    {
        try await withIngest(settings: ["publish-timeout": "500ms"]) { ingest in
            #expect(try ingest.post(eventJSON()).status == 202)
            ingest.nats.pause()
            defer { ingest.nats.resume() }
            // A signal takes a moment to stop a process that is running.
            var response = try ingest.post(eventJSON())
            #expect(
                try eventually {
                    response = try ingest.post(eventJSON())
                    return response.status == 503
                })
            #expect(response.headers["retry-after"] != nil)
            #expect(ingest.metrics.render().contains("qoe_ingest_inflight_bytes 0"))
        }
    }

    @Test func `a server that comes later is waited for`() async throws {
        try await withIngest(startsBeforeNATS: true) { ingest in
            #expect(!ingest.health.isReady)
            #expect(try ingest.post(eventJSON()).status == 503)
            try ingest.nats.restart()
            try await waitUntilReady(ingest.health)
            #expect(try ingest.post(eventJSON()).status == 202)
        }
    }

    @Test func `a service that disagrees about the partitions does not start`() async throws {
        try await withIngest { running in
            let values = [
                "listen": "127.0.0.1:0", "nats-url": running.nats.url,
                "tokens-file": running.tokensFile, "partitions": "4",
            ]
            let other = try Ingest(
                configuration: IngestConfiguration(
                    Settings(IngestConfiguration.settings, values: values), coreCount: 1),
                metrics: PrometheusRegistry(), health: HealthRegistry(),
                logger: Logger(label: "test"))
            let failure = await #expect(throws: ProgramFailure.self) {
                try await other.busService().run()
            }
            #expect(failure?.exitCode == .configuration)
            #expect(failure?.description.contains("partition count") == true)
            await other.drain()
        }
    }
}

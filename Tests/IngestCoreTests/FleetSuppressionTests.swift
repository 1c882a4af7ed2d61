import Bus
import Glibc
import NATSClient
import PrivateServers
import TestKit
import Testing

@Suite struct FleetSuppressionTests {
    private func isSuppressed(_ ingest: RunningIngest) throws -> Bool {
        let response = try ingest.post(eventJSON())
        #expect(response.status == 202)
        return response.headers["qoe-suppress"] != nil
    }

    @Test func `answers to those who measure bear the order, and keep it while NATS is away`()
        async throws
    {
        try await withIngest { ingest in
            func give(_ isActive: Bool) throws {
                let options = NATSOptions(urls: [ingest.nats.url], name: "test")
                let connection = try NATSConnection(options) { _ in }
                defer { connection.close() }
                try FleetOrders(connection).give(
                    SuppressionOrder(isActive: isActive, reason: nil, orderedAtMilliseconds: 1))
            }
            #expect(try !isSuppressed(ingest))
            try give(true)
            #expect(try eventually { try isSuppressed(ingest) })
            #expect(ingest.metric("qoe_ingest_fleet_suppressed") == 1)
            // What is no order ends none.
            let stranger = try NATSConnection(
                NATSOptions(urls: [ingest.nats.url], name: "test")
            ) { _ in }
            _ = try publishConfirmed(
                Array("{}".utf8), to: BusSubject.fleetSuppression, stream: BusStream.fleet,
                over: stranger, within: .seconds(5))
            stranger.close()
            #expect(throws: (any Error).self) {
                let connection = try NATSConnection(
                    NATSOptions(urls: [ingest.nats.url], name: "test")
                ) { _ in }
                defer { connection.close() }
                _ = try FleetOrders(connection).suppression()
            }
            // Longer than ingest needs to look again.
            usleep(2_000_000)
            #expect(try isSuppressed(ingest))
            // Health is nobody's order.
            #expect(try ingest.get("/health").headers["qoe-suppress"] == nil)
            let refused = try ingest.post("{}")
            #expect(refused.status == 400 && refused.headers["qoe-suppress"] != nil)
            try ingest.nats.kill()
            #expect(try eventually { try ingest.post(eventJSON()).status == 503 })
            #expect(try ingest.post(eventJSON()).headers["qoe-suppress"] != nil)
            try ingest.nats.restart()
            #expect(try eventually { try ingest.post(eventJSON()).status == 202 })
            #expect(try isSuppressed(ingest))
            try give(false)
            #expect(try eventually { try !isSuppressed(ingest) })
        }
    }
}

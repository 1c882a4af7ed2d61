import IngestCore
import PrivateServers
import ServiceKit
import TestKit
import Testing

/// What ingest tells about its clock.
@Suite(.serialized) struct TimeTests {
    private static let path = "/api/v1/time"

    private func times(_ response: HTTPClient.Response) throws -> (received: Int, sent: Int) {
        let body = try JSON(response.body)
        return (
            try #require(body["server_recv_us"]?.int), try #require(body["server_send_us"]?.int)
        )
    }

    @Test func `the time is told to any valid token, several times on a connection`() async throws {
        try await withIngest { ingest in
            let reader = try TokenFile.create(name: "r", role: .read, in: ingest.tokensFile)
            try ingest.ingest.reloadTokens(from: TokenFiles(tokens: ingest.tokensFile))
            let client = try ingest.connect()
            for token in [ingest.token, reader, ingest.token] {
                let before = Int(nowMilliseconds()) * 1000
                try client.send(ingest.head("GET", Self.path, length: 0, type: nil, token: token))
                let response = try client.response()
                #expect(response.status == 200)
                let (received, sent) = try times(response)
                let after = (Int(nowMilliseconds()) + 1) * 1000
                #expect(before <= received && received <= sent && sent <= after)
            }
            for token in ["no", "qoe_0123456789abcdef_0"] {
                try client.send(ingest.head("GET", Self.path, length: 0, type: nil, token: token))
                #expect(try client.response().status == 401)
            }
            #expect(try ingest.get(Self.path).status == 401)
            try client.send(ingest.head("HEAD", Self.path, length: 0, type: nil))
            let head = try client.response(toHead: true)
            #expect(head.status == 200)
            #expect(Int(head.headers["content-length"] ?? "") ?? 0 > 50)
            #expect(
                ingest.metrics.render().contains(
                    #"qoe_ingest_requests_total{route="time",status="2xx"} 4"#))
            #expect(
                ingest.metrics.render().contains(
                    #"qoe_ingest_requests_total{route="time",status="4xx"} 3"#))
            // It is nobody's but the two clocks' concern.
            #expect(try ingest.storedHeartbeats().isEmpty)
        }
    }

    @Test func `the time is told without NATS`() async throws {
        try await withIngest(startsBeforeNATS: true) { ingest in
            let client = try ingest.connect()
            try client.send(ingest.head("GET", Self.path, length: 0, type: nil))
            #expect(try client.response().status == 200)
        }
    }

    @Test(arguments: Door.allCases)
    func `a heartbeat's answer tells when it came and when the answer went, after it was durable`(
        door: Door
    ) async throws {
        try await withIngest(door) { ingest in
            let body = #"{"client_id":"a","ts_ms":1}"#
            let client = try ingest.connect()
            let before = Int(nowMilliseconds()) * 1000
            try client.send(ingest.head("POST", "/heartbeats", length: body.utf8.count) + body)
            let response = try client.response()
            #expect(response.status == 202)
            let (received, sent) = try times(response)
            let stored = try #require(try JSON(response.body)["recv_ts_ms"]?.int) * 1000
            #expect(before <= received && received <= stored + 1000)
            // Publishing to a bus and its disk takes longer than a microsecond.
            #expect(stored < sent && received < sent)
            #expect(sent <= (Int(nowMilliseconds()) + 1) * 1000)
            #expect(try ingest.storedHeartbeats().count == 1)
        }
    }
}

import IngestCore
import ServiceKit
import Telemetry
import TestKit
import Testing

@Suite(.serialized) struct EventsTests {
    @Test func `a single event is answered and stored in its partition`() async throws {
        try await withIngest { ingest in
            let before = nowMilliseconds()
            let response = try ingest.post(eventJSON())
            #expect(response.status == 202)
            #expect(
                response.body.hasPrefix(
                    #"{"status":"ok","event_id":"550e8400-e29b-41d4-a716-446655440000","recv_ts_ms":"#
                ))
            let stored = try ingest.storedEvents()
            #expect(stored.count == 1)
            let (partition, event) = try #require(stored.first)
            #expect(partition == Partitioning.standard.partition(ofClient: "probe-001"))
            #expect(event.target == "https://api.example.com")
            #expect(event.measuredAtMilliseconds >= before)
            #expect(event.metrics[.dns]?.inUnit == 15.3)
            #expect(event.context.isp == "Example ISP")
        }
    }

    @Test func `both paths and a missing content type are taken`() async throws {
        try await withIngest { ingest throws in
            for path in ["/events", "/api/v1/events", "/events?x=1"] {
                #expect(try ingest.post(eventJSON(), to: path).status == 202)
                #expect(try ingest.post(eventJSON(), to: path, type: nil).status == 202)
            }
            let type = "Application/JSON; charset=utf-8"
            #expect(try ingest.post(eventJSON(), type: type).status == 202)
        }
    }

    @Test func `one bad event of a batch keeps the others and names its index`() async throws {
        try await withIngest { ingest in
            let events = (0..<40).map { eventJSON(client: "probe-\($0)") }
            let bad = eventJSON(dns: "-1")
            let body = "[" + (events[..<20] + [bad] + events[20...]).joined(separator: ",") + "]"
            let response = try ingest.post(body)
            #expect(response.status == 202)
            #expect(response.body.contains(#""accepted":40,"rejected":[{"index":20,"#))
            #expect(
                response.body.contains(
                    #""error":"invalid_measurement","field":"timing_measurements.dns_ms","message":"#
                ))
            let stored = try ingest.storedEvents()
            #expect(stored.count == 40)
            for (partition, event) in stored {
                #expect(
                    partition
                        == Partitioning.standard.partition(ofClient: event.clientID.text))
            }
        }
    }

    @Test func `a broken line keeps the others`() async throws {
        try await withIngest { ingest in
            let body = "\(eventJSON())\n{\"client_id\":\n\n\(eventJSON())\n"
            let response = try ingest.post(body, type: "application/x-ndjson")
            #expect(response.status == 202)
            #expect(
                response.body.contains(
                    #""accepted":2,"rejected":[{"index":1,"error":"invalid_request""#))
            #expect(try ingest.storedEvents().count == 2)
        }
    }

    @Test func `a batch of which nothing is accepted is refused with its list`() async throws {
        try await withIngest { ingest in
            let response = try ingest.post("[\(eventJSON(dns: "-1")),7]")
            #expect(response.status == 400)
            #expect(
                response.body.hasPrefix(#"{"status":"error","error":{"code":"invalid_request""#))
            #expect(response.body.contains(#""accepted":0,"rejected":[{"index":0,"#))
            #expect(response.body.contains(#"{"index":1,"error":"invalid_request","message""#))
            for (body, type) in [("[]", "application/json"), ("\n", "application/x-ndjson")] {
                let empty = try ingest.post(body, type: type)
                #expect(empty.status == 400)
                #expect(empty.body.contains(#""accepted":0,"rejected":[]"#))
            }
            #expect(try ingest.storedEvents().isEmpty)
        }
    }

    @Test func `a bad single event is answered with its code and field`() async throws {
        try await withIngest { ingest in
            let cases: [(String, String, String)] = [
                (eventJSON(id: "7"), "invalid_event_id", "event_id"),
                (eventJSON(timestamp: nowMilliseconds() + 400_000), "invalid_timestamp", "ts_ms"),
                (eventJSON(timestamp: 0), "invalid_timestamp", "ts_ms"),
                (eventJSON(client: ""), "invalid_request", "client_id"),
                (eventJSON(dns: "1e400"), "invalid_measurement", "timing_measurements.dns_ms"),
                ("{}", "invalid_schema_version", "schema_version"),
            ]
            for (body, code, field) in cases {
                let response = try ingest.post(body)
                #expect(response.status == 400)
                #expect(response.body.contains("\"error\":{\"code\":\"\(code)\""))
                #expect(response.body.contains("\"field\":\"\(field)\""))
            }
            let broken = try ingest.post("{\"a\"")
            #expect(broken.status == 400)
            #expect(broken.body.contains("the body lacks a colon"))
            #expect(try ingest.storedEvents().isEmpty)
        }
    }

    @Test func `the retention is the setting's`() async throws {
        try await withIngest(settings: ["retention": "2h"]) { ingest throws in
            let hour: Int64 = 3_600_000
            #expect(try ingest.post(eventJSON(timestamp: nowMilliseconds() - hour)).status == 202)
            #expect(
                try ingest.post(eventJSON(timestamp: nowMilliseconds() - 3 * hour)).status == 400)
        }
    }

    @Test func `a heartbeat is stamped and stored`() async throws {
        try await withIngest { ingest in
            for path in ["/heartbeats", "/api/v1/heartbeats"] {
                let response = try ingest.post(
                    #"{"client_id":"probe-001","ts_ms":5,"source_address":"forged"}"#, to: path)
                #expect(response.status == 202)
                #expect(response.body.hasPrefix(#"{"status":"ok","recv_ts_ms":"#))
            }
            let stored = try ingest.storedHeartbeats()
            #expect(stored.count == 2)
            #expect(stored[0].contains(#""source_address":"127.0.0.1""#))
            #expect(stored[0].contains(#""recv_ts_ms":1"#))
            let bad = try ingest.post(#"{"client_id":"a","ts_ms":"x"}"#, to: "/heartbeats")
            #expect(bad.status == 400)
            #expect(bad.body.contains(#""field":"ts_ms""#))
        }
    }

    @Test func `metrics say what was taken and refused`() async throws {
        try await withIngest { ingest in
            _ = try ingest.post("[\(eventJSON()),\(eventJSON()),\(eventJSON(dns: "-1"))]")
            _ = try ingest.get("/nothing")
            let text = ingest.metrics.render()
            #expect(text.contains("qoe_ingest_events_accepted_total 2"))
            #expect(text.contains(#"qoe_ingest_rejected_total{code="invalid_measurement"} 1"#))
            #expect(text.contains(#"qoe_ingest_rejected_total{code="not_found"} 1"#))
            #expect(text.contains(#"qoe_ingest_requests_total{route="events",status="2xx"} 1"#))
            #expect(text.contains("qoe_ingest_nats_connected 1"))
            #expect(text.contains("qoe_ingest_tokens 1"))
            #expect(text.contains("qoe_ingest_inflight_bytes 0"))
            #expect(text.contains("qoe_ingest_publish_duration_seconds_count 1"))
        }
    }
}

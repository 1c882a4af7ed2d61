import Glibc
import ServiceKit
import TestKit
import Testing

@testable import IngestCore

struct RateTableTests {
    private func key(_ name: UInt64, _ rule: RateRule = .clientEvents) -> RateTable.Key {
        .init(rule: rule, name: name)
    }

    @Test func `a bucket is what a simple model says, over a million steps`() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        let table = RateTable()
        // A second is divided by the rate without a remainder.
        let limit = RateLimit(perSecond: 1000, burstSeconds: 2)
        var now: Int64 = 0
        // In billionths of an event.
        var left: Int64 = 2000 * 1_000_000_000
        for step in 0..<1_000_000 {
            let pause = Int64(generator.next() % 2_000_000)
            now += pause
            left = min(left + pause * 1000, 2000 * 1_000_000_000)
            let excess = table.excess(key(1), limit, at: now)
            guard (excess == nil) == (left > 0) else {
                Issue.record(
                    "step \(step) of seed \(seed): \(left) left, \(String(describing: excess))")
                return
            }
            if let excess {
                // One nanosecond before that it is still too early.
                let wait = excess.waitNanoseconds
                #expect(table.excess(key(1), limit, at: now + wait) == nil)
                #expect(table.excess(key(1), limit, at: now + wait - 1) != nil)
            } else {
                let count = Int(generator.next() % 5)
                table.take(count, from: key(1), limit, at: now)
                left -= Int64(count) * 1_000_000_000
            }
        }
    }

    @Test func `no number is too large`() throws {
        let table = RateTable()
        for (perSecond, burst) in [(1, 1), (1, Int.max), (Int.max, 1), (Int.max, Int.max)] {
            let limit = RateLimit(perSecond: perSecond, burstSeconds: burst)
            for now in [0, 1, Int64.max - 1, .max] {
                for count in [0, 1, Int.max, Int.max] {
                    table.take(count, from: key(UInt64(perSecond)), limit, at: now)
                    _ = table.excess(key(UInt64(perSecond)), limit, at: now)?.waitSeconds
                }
            }
        }
    }

    @Test func `one does not disturb another`() throws {
        let table = RateTable()
        let limit = RateLimit(perSecond: 1, burstSeconds: 1)
        table.take(1000, from: key(1), limit, at: 0)
        #expect(table.excess(key(1), limit, at: 0) != nil)
        // The neighbour in the same shard, and the same name under another rule.
        #expect(table.excess(key(17), limit, at: 0) == nil)
        #expect(table.excess(key(1, .tokenEvents), limit, at: 0) == nil)
    }

    @Test func `the table has a bound, and full buckets make room`() throws {
        let table = RateTable(bucketsMax: 160)
        let limit = RateLimit(perSecond: 1, burstSeconds: 1)
        for name in 0..<10_000 as Range<UInt64> { table.take(10, from: key(name), limit, at: 0) }
        #expect(table.bucketCount == 160)
        #expect(table.excess(key(0), limit, at: 0) != nil, "who is limited stays so")
        #expect(table.excess(key(9999), limit, at: 0) == nil)
        let later: Int64 = 11_000_000_000
        table.take(10, from: key(9999), limit, at: later)
        #expect(table.excess(key(9999), limit, at: later) != nil)
        #expect(table.bucketCount <= 160)
    }
}

@Suite(.serialized) struct RateLimitTests {
    private func batch(_ count: Int, client: String = "probe-001") -> String {
        "[" + Array(repeating: eventJSON(client: client), count: count).joined(separator: ",") + "]"
    }

    private func limited(_ ingest: RunningIngest, _ rule: String) -> Double? {
        ingest.metric("qoe_ingest_rate_limited_total{limit=\"\(rule)\"}")
    }

    /// Posts more than may come at once, and what is refused again after the time it was told.
    private func checkEvents(
        _ ingest: RunningIngest, token: String? = nil, _ rule: String, perSecond: Int
    ) throws {
        let passing = try ingest.post(batch(perSecond * 3), token: token)
        #expect(passing.status == 202, "a batch larger than the burst")
        let refused = try ingest.post(eventJSON(), token: token)
        #expect(refused.status == 429)
        #expect(refused.body.contains(#""code":"rate_limit_exceeded""#))
        #expect(refused.headers["x-ratelimit-limit"] == "\(perSecond)")
        #expect(refused.headers["x-ratelimit-remaining"] == "0")
        let wait = try #require(refused.headers["retry-after"].flatMap { UInt32($0) })
        #expect(refused.headers["x-ratelimit-reset"] == "\(wait)")
        #expect((1...3).contains(wait))
        #expect(limited(ingest, rule) == 1)
        #expect(try ingest.storedEvents().count == perSecond * 3)
        sleep(wait)
        #expect(try ingest.post(eventJSON(), token: token).status == 202)
        #expect(try ingest.storedEvents().count == perSecond * 3 + 1)
    }

    @Test func `a client has a rate, whatever its token`() async throws {
        let settings = ["client-events-per-second": "10", "rate-burst": "1s"]
        try await withIngest(settings: settings) { ingest throws in
            #expect(try ingest.post(batch(1, client: "other")).status == 202)
            #expect(try ingest.post(batch(1000, client: "third")).status == 202)
            #expect(try ingest.post(eventJSON(client: "third")).status == 429)
            let heartbeat = #"{"client_id":"third","ts_ms":5}"#
            #expect(try ingest.post(heartbeat, to: "/heartbeats").status == 429)
            // One that waits holds up the whole body.
            let mixed = "[\(eventJSON(client: "other")),\(eventJSON(client: "third"))]"
            #expect(try ingest.post(mixed).status == 429)
            #expect(try ingest.post(eventJSON(client: "other")).status == 202)
            #expect(try ingest.storedEvents().count == 1002)
            #expect(limited(ingest, "client_events") == 3)
        }
        try await withIngest(settings: settings) { ingest in
            try checkEvents(ingest, "client_events", perSecond: 10)
        }
    }

    @Test func `a token has the rates of the settings, or its own`() async throws {
        let settings = ["token-events-per-second": "10", "rate-burst": "1s"]
        try await withIngest(settings: settings) { ingest in
            try checkEvents(ingest, "token_events", perSecond: 10)
        }
        try await withIngest(settings: ["token-events-per-second": "1", "rate-burst": "1s"]) {
            ingest in
            let token = try TokenFile.create(
                name: "own", clients: ["*"], eventsPerSecondMax: 20, in: ingest.tokensFile)
            try ingest.ingest.reloadTokens(from: TokenFiles(tokens: ingest.tokensFile, pepper: nil))
            #expect(try ingest.post(batch(0), token: token).status == 400)
            try checkEvents(ingest, token: token, "token_events", perSecond: 20)
        }
    }

    @Test func `bytes have rates too`() async throws {
        let settings = [
            "token-bytes-per-second": "100KiB", "client-bytes-per-second": "10KiB",
            "rate-burst": "1s",
        ]
        try await withIngest(settings: settings) { ingest in
            #expect(try ingest.post(batch(300)).status == 202)
            #expect(try ingest.post(eventJSON()).status == 429)
            #expect(limited(ingest, "client_bytes") == 1)
            #expect(try ingest.post(batch(2000, client: "b")).status == 202)
            let refused = try ingest.post(eventJSON(client: "c"))
            #expect(refused.status == 429)
            #expect(refused.headers["x-ratelimit-limit"] == "\(100 << 10)")
            #expect(limited(ingest, "token_bytes") == 1)
            #expect(ingest.metric("qoe_ingest_rejected_total{code=\"rate_limit_exceeded\"}") == 2)
        }
    }

    @Test func `an address may have so many connections, and others theirs`() async throws {
        try await withIngest(settings: ["max-connections-per-address": "2"]) { ingest in
            let get = "GET /health HTTP/1.1\r\nHost: test\r\n\r\n"
            var open: [HTTPClient] = []
            for source in ["127.0.0.1", "127.0.0.1", "127.0.0.2"] {
                let client = try HTTPClient(port: ingest.port, from: source)
                try client.send(get)
                #expect(try client.response().status == 200)
                open.append(client)
            }
            let third = try HTTPClient(port: ingest.port, from: "127.0.0.1")
            #expect(try third.isClosedByServer())
            #expect(ingest.metric("qoe_ingest_connections_refused_total") == 1)
            #expect(ingest.metric("qoe_ingest_connections") == 3)
            open.removeFirst()
            #expect(
                eventually {
                    guard let again = try? HTTPClient(port: ingest.port, from: "127.0.0.1"),
                        (try? again.send(get)) != nil
                    else { return false }
                    return (try? again.response().status) == 200
                })
        }
    }
}

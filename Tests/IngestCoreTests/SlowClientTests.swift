import Glibc
import IngestCore
import TestKit
import Testing

@Suite(.serialized) struct SlowClientTests {
    @Test(arguments: Door.allCases)
    func `thousands of slow clients end by their limits and disturb nobody`(_ door: Door)
        async throws
    {
        var files = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files)
        // Both ends of each connection are in this process.
        files.rlim_cur = min(files.rlim_max, 8192)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files)
        // Long enough for a good client on a busy machine, which is told 408 else.
        let settings = [
            "max-connections-per-address": "5000", "header-timeout": "5s", "request-timeout": "5s",
            "idle-timeout": "5s",
        ]
        try await withIngest(door, settings: settings) { ingest in
            let count = min(2000, Int(clamping: files.rlim_cur / 3))
            let head = ingest.head(length: 5000)
            // Goes on for as long as the client likes.
            let endless = String(ingest.head(length: 5000, extra: "X-Slow: ").dropLast())
            var slow: [HTTPClient] = []
            for index in 0..<count {
                let client = try ingest.connect()
                switch index % 3 {
                case 0: try client.send(endless)
                case 1: try client.send(head)
                default: break
                }
                slow.append(client)
            }
            let series = ["slow_head", "slow_body", "idle"].map {
                "qoe_ingest_connections_closed_total{reason=\"\($0)\"}"
            }
            let unfinished = "qoe_ingest_connections_closed_total{reason=\"tls\"}"
            let haveEnded = try eventually(within: .seconds(180)) {
                for (index, client) in slow.enumerated() where index % 3 != 2 {
                    _ = client.sendWithoutWaiting([UInt8(ascii: " ")])
                }
                let status = try ingest.post(eventJSON()).status
                #expect(status == 202)
                // On a busy machine the server may still wait for the end of a client's handshake, of which the
                // client knows nothing any more; that has a limit too.
                return (series + [unfinished]).reduce(0) { $0 + (ingest.metric($1) ?? 0) }
                    >= Double(count)
            }
            let ended = (series + [unfinished]).map { "\($0) \(ingest.metric($0) ?? 0)" }
            #expect(haveEnded, "\(ended) of \(count)")
            for series in series {
                #expect((ingest.metric(series) ?? 0) > 0, "\(series)")
            }
            slow.removeAll()
            #expect(eventually { ingest.isIdle() })
        }
    }

    @Test(arguments: Door.allCases)
    func `a client that stays when it was answered for the last time is cut off`(_ door: Door)
        async throws
    {
        try await withIngest(door) { ingest in
            let client = try ingest.connect()
            try client.send("nonsense\r\n\r\n")
            #expect(try client.response().status == 400)
            #expect(eventually { ingest.isIdle() })
        }
    }

    @Test(arguments: Door.allCases)
    func `while it waits to drain it serves, and says that it will not`(_ door: Door) async throws {
        try await withIngest(door, settings: ["drain-delay": "1s"]) { ingest in
            let open = try ingest.connect()
            let drained = Task { await ingest.ingest.drain() }
            #expect(try eventually { try ingest.get("/ready").status == 503 })
            #expect(try ingest.post(eventJSON()).status == 202)
            try open.send(ingest.head(length: eventJSON().utf8.count) + eventJSON())
            let response = try open.response()
            #expect(response.status == 202)
            #expect(response.headers["connection"] == nil)
            #expect(try open.isClosedByServer())
            await drained.value
            #expect(throws: (any Error).self) { try ingest.connect() }
        }
    }

    @Test(arguments: Door.allCases)
    func `a stuck client is cut off when draining takes too long`(_ door: Door) async throws {
        try await withIngest(door, settings: ["drain-timeout": "300ms"]) { ingest in
            let stuck = try ingest.connect()
            try stuck.send(ingest.head(length: 100, extra: "Expect: 100-continue\r\n"))
            #expect(try stuck.response().status == 100)
            await ingest.ingest.drain()
            #expect((try? stuck.isClosedByServer()) ?? true)
            #expect(ingest.isIdle())
            #expect(ingest.metric("qoe_ingest_requests_abandoned_total") == 1)
        }
    }
}

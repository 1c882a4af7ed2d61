import IngestCore
import TestKit
import Testing

/// Clients that never get as far as HTTP.
@Suite(.serialized) struct HandshakeTests {
    private static let closedByTLS = "qoe_ingest_connections_closed_total{reason=\"tls\"}"

    /// A record of a ClientHello that promises `length` bytes (RFC 8446, section 5.1).
    private static func helloRecord(length: UInt16) -> [UInt8] {
        [22, 3, 1, UInt8(length >> 8), UInt8(length & 0xff), 1, 0, 1, 0, 3, 3]
    }

    /// Reads until the connection ends; a reset is an end as well.
    private func awaitEnd(_ client: HTTPClient) -> [HTTPClient.Response] {
        (try? client.responsesUntilClose()) ?? []
    }

    @Test func `what is no handshake gets no answer and ends the connection`() async throws {
        try await withIngest(.tls) { ingest in
            var random = SeededGenerator(seed: 7)
            var garbage: [[UInt8]] = [
                Array("GET /health HTTP/1.1\r\nHost: a\r\n\r\n".utf8),
                Array((ingest.head(length: eventJSON().utf8.count) + eventJSON()).utf8),
                Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8),
                // SSL 2's hello, an alert, data and a change of ciphers before any hello.
                [0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10], [21, 3, 3, 0, 2, 2, 40],
                [23, 3, 3, 0, 5, 1, 2, 3, 4, 5], [20, 3, 3, 0, 1, 1, 20, 3, 3, 0, 1, 1],
                // Records that are empty, too long, and a hello of 16 MB.
                [22, 3, 1, 0, 0, 22, 3, 1, 0, 0] + [UInt8](repeating: 0, count: 100),
                [22, 3, 1, 0xff, 0xff] + [UInt8](repeating: 1, count: 70_000),
                [22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff],
                // A hello whose content is nonsense.
                [22, 3, 1, 0, 8, 1, 0, 0, 4, 9, 9, 9, 9],
            ]
            garbage += (0..<50).map { _ in
                (0..<Int.random(in: 6...2000, using: &random)).map { _ in
                    // Not the type of a handshake's record, which may wait for the rest of it.
                    UInt8.random(in: 23...255, using: &random)
                }
            }
            for bytes in garbage {
                let client = try HTTPClient(port: ingest.port)
                try client.send(bytes)
                let answers = awaitEnd(client)
                #expect(answers.isEmpty, "\(bytes.prefix(40))")
            }
            #expect(ingest.metric(Self.closedByTLS) == Double(garbage.count))
            #expect(try ingest.post(eventJSON()).status == 202)
            #expect(try ingest.storedEvents().count == 1)
            #expect(eventually { ingest.isIdle() })
        }
    }

    @Test func `a handshake that never ends is ended by the head's time limit`() async throws {
        try await withIngest(.tls, settings: ["header-timeout": "1s"]) { ingest in
            let starts: [[UInt8]] = [
                [], [22], Self.helloRecord(length: 500), Self.helloRecord(length: 16_000),
            ]
            let clients = try starts.map { start in
                let client = try HTTPClient(port: ingest.port)
                try client.send(start)
                return client
            }
            let slow = try HTTPClient(port: ingest.port)
            let hello = Self.helloRecord(length: 16_000) + [UInt8](repeating: 0, count: 16_000)
            var position = 0
            let haveEnded = eventually {
                position += slow.sendWithoutWaiting([hello[position % hello.count]])
                return ingest.metric(Self.closedByTLS) == Double(starts.count + 1)
            }
            #expect(haveEnded)
            for client in clients + [slow] { #expect(awaitEnd(client).isEmpty) }
            #expect(try ingest.post(eventJSON()).status == 202)
            #expect(eventually { ingest.isIdle() })
            #expect(ingest.metric(Self.closedByTLS) == Double(starts.count + 1))
        }
    }

    @Test func `clients that leave in the middle of a handshake leave nothing behind`()
        async throws
    {
        try await withIngest(.tls) { ingest in
            for index in 0..<60 {
                let client = try HTTPClient(port: ingest.port)
                try client.send(Array(Self.helloRecord(length: 500).prefix(index % 12)))
                switch index % 3 {
                case 0: client.resetsAtEnd()
                case 1:
                    client.shutdownOutput()
                    #expect(awaitEnd(client).isEmpty)
                default: break
                }
            }
            #expect(eventually { ingest.isIdle() })
            #expect(try ingest.post(eventJSON()).status == 202)
        }
    }

    @Test func `a flood of handshakes fills the bound and no more, and passes`() async throws {
        let bound = 40
        let settings = ["header-timeout": "2s", "max-connections": "\(bound)"]
        try await withIngest(.tls, settings: settings) { ingest in
            let silent = try (0..<3 * bound).map { index in
                let client = try HTTPClient(port: ingest.port)
                if index % 2 == 1 { _ = client.sendWithoutWaiting(Self.helloRecord(length: 500)) }
                return client
            }
            #expect((ingest.metric("qoe_ingest_connections") ?? 0) <= Double(bound))
            for client in silent { #expect(awaitEnd(client).isEmpty) }
            // Each was refused or ended by the time limit, and more came than the bound admits at once.
            let refused = ingest.metric("qoe_ingest_connections_refused_total") ?? 0
            #expect(refused > 0)
            #expect(
                eventually {
                    ingest.metric(Self.closedByTLS) == Double(silent.count) - refused
                })
            #expect(eventually { ingest.isIdle() })
            #expect(try ingest.post(eventJSON()).status == 202)
        }
    }

    @Test func `an idle client is told that TLS ends and is counted once`() async throws {
        try await withIngest(.tls, settings: ["idle-timeout": "1s"]) { ingest in
            let client = try ingest.connect()
            try client.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try client.response().status == 200)
            // It does not answer that it ends, and is not waited for.
            #expect(eventually { ingest.isIdle() })
            #expect(ingest.metric("qoe_ingest_connections_closed_total{reason=\"idle\"}") == 1)
            #expect(try client.isClosedByServer())
        }
    }
}

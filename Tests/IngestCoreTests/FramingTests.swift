import IngestCore
import TestKit
import Testing

/// Bytes that two parties could understand differently, or that nobody should understand. Each goes ahead of
/// a good request, which is served exactly when what came before it was delimited beyond doubt.
@Suite(.serialized) struct FramingTests {
    /// What is sent, and the statuses that come back for it.
    private struct Case {
        let bytes: [UInt8]
        let statuses: [Int]
        /// Whether the good request behind it is answered.
        let isFollowed: Bool

        init(_ bytes: [UInt8], _ statuses: [Int], isFollowed: Bool) {
            self.bytes = bytes
            self.statuses = statuses
            self.isFollowed = isFollowed
        }

        /// Answered with the last status, and then the connection ends.
        static func ends(_ text: String, _ statuses: Int...) -> Case {
            Case(Array(text.utf8), statuses, isFollowed: false)
        }

        static func goesOn(_ text: String, _ statuses: Int...) -> Case {
            Case(Array(text.utf8), statuses, isFollowed: true)
        }
    }

    private static let body = eventJSON()
    private static let length = "Content-Length: \(body.utf8.count)"
    private static let chunked = "Transfer-Encoding: chunked"
    private static let ending = "0\r\n\r\n"

    private static func chunk(_ text: String, behindSize: String = "") -> String {
        "\(String(text.utf8.count, radix: 16))\(behindSize)\r\n\(text)\r\n"
    }

    /// Runs the cases, each on a connection of its own.
    private func check(
        _ door: Door, _ settings: [String: String] = [:], _ cases: (RunningIngest) -> [Case],
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        try await withIngest(door, settings: settings) { ingest in
            var storedCount = 0
            for item in cases(ingest) {
                let client = try ingest.connect()
                let followerHead = ingest.head(
                    length: Self.body.utf8.count, extra: "Connection: close\r\n")
                let name = "\(String(decoding: item.bytes, as: UTF8.self).debugDescription)".suffix(
                    300)
                let answers: [HTTPClient.Response]
                do {
                    try client.send(item.bytes + Array((followerHead + Self.body).utf8))
                    answers = try client.responsesUntilClose()
                } catch {
                    Issue.record("\(error) with \(name)", sourceLocation: sourceLocation)
                    continue
                }
                let statuses = item.statuses + (item.isFollowed ? [202] : [])
                #expect(
                    answers.map(\.status) == statuses, "\(name)", sourceLocation: sourceLocation)
                #expect(
                    answers.last?.headers["connection"] == "close", "\(name)",
                    sourceLocation: sourceLocation)
                storedCount += statuses.count { $0 == 202 }
            }
            #expect(
                try ingest.storedEvents().count == storedCount, sourceLocation: sourceLocation)
            #expect(eventually { ingest.isIdle() }, sourceLocation: sourceLocation)
        }
    }

    /// A post whose head ends with `fields`.
    private func post(
        _ ingest: RunningIngest, _ fields: String, _ body: String, version: String = "HTTP/1.1",
        host: String = "Host: test\r\n"
    ) -> String {
        "POST /events \(version)\r\n\(host)Authorization: Bearer \(ingest.token)\r\n\(fields)\r\n\r\n"
            + body
    }

    @Test(arguments: Door.allCases)
    func `a body whose length is given in two ways or none is refused`(_ door: Door) async throws {
        try await check(door) { ingest in
            let fields = [
                "\(Self.length)\r\n\(Self.chunked)", "\(Self.chunked)\r\n\(Self.length)",
                "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, chunked",
                "Transfer-Encoding: chunked;q=1", "Transfer-Encoding: identity, chunked",
                "Transfer-Encoding: identity", "Transfer-Encoding: gzip, chunked",
                "Transfer-Encoding: chunked, identity", "Transfer-Encoding:",
                "Transfer-Encoding: \"chunked\"", "Transfer-Encoding:\u{b}chunked",
                "Transfer-Encoding: chunked\u{b}", "\(Self.chunked)\r\n\(Self.chunked)",
                "\(Self.chunked)\r\nTransfer-Encoding: identity",
                "Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked",
                "Transfer-Encoding:\r\n chunked", "\(Self.length)\r\n\(Self.length)",
                "\(Self.length)\r\nContent-Length: 1", "Content-Length: 1\r\n\(Self.length)",
                "Content-Length : 5", "Content-Length: +5", "Content-Length: -1",
                "Content-Length: 5 5", "Content-Length: 5, 5", "Content-Length: 5,6",
                "Content-Length: 0x5", "Content-Length: 5;", "Content-Length: 1_0",
                "Content-Length: 5.0", "Content-Length:", "Content-Length: ٥",
                "Content-Length: 18446744073709551616",
                "Content-Length: 100000000000000000000000000000000000005",
            ]
            return fields.map { .ends(post(ingest, $0, Self.ending), 400) }
                + [
                    .ends(post(ingest, "Content-Length: 9223372036854775808", Self.ending), 413),
                    .ends(post(ingest, "Content-Length: 18446744073709551615", Self.ending), 413),
                    .ends(
                        post(
                            ingest, Self.chunked, Self.chunk(Self.body) + Self.ending,
                            version: "HTTP/1.0"), 400),
                    .ends(
                        post(
                            ingest, "Connection: keep-alive\r\n\(Self.chunked)",
                            Self.chunk(Self.body) + Self.ending, version: "HTTP/1.0"), 400),
                    // Names that are others.
                    .goesOn(
                        post(
                            ingest, "Transfer_Encoding: chunked\r\nContent-Length: 5", Self.ending),
                        400),
                    .goesOn(
                        post(ingest, "X-Transfer-Encoding: chunked\r\n\(Self.length)", Self.body),
                        202),
                    .goesOn(
                        post(ingest, "content-LENGTH: 00\(Self.body.utf8.count)  ", Self.body), 202
                    ),
                    .goesOn(
                        post(
                            ingest, "tRANSFER-eNCODING:  CHUNKED ",
                            Self.chunk(Self.body) + Self.ending), 202),
                ]
        }
    }

    @Test(arguments: Door.allCases)
    func `lines, names and values that are not as they must be are refused`(_ door: Door)
        async throws
    {
        try await check(door) { ingest in
            func raw(_ text: String, _ byte: UInt8) -> Case {
                Case(
                    text.utf8.map { $0 == UInt8(ascii: "#") ? byte : $0 }, [400], isFollowed: false)
            }
            let get = "GET /health HTTP/1.1\r\nHost: test\r\n"
            var cases: [Case] = [
                .ends("GET /health HTTP/1.1\nHost: test\n\n", 400),
                .ends("GET /health HTTP/1.1\r\nHost: test\n\r\n", 400),
                .ends("\(get)X: a\n\r\n", 400), .ends("\(get)\n", 400),
                .ends("\(get)X: a\rY: b\r\n\r\n", 400), .ends("\(get)X: a\r\r\n\r\n", 400),
                .ends("\(get)\rX: a\r\n\r\n", 400),
                .ends("\(get)X: a\r\n b\r\n\r\n", 400), .ends("\(get)X: a\r\n\tb\r\n\r\n", 400),
                .ends("\(get)X:\r\n b\r\n\r\n", 400),
                .ends("GET /health HTTP/1.1\r\n X: a\r\nHost: test\r\n\r\n", 400),
                .ends("\(get)X Y: a\r\n\r\n", 400), .ends("\(get)X : a\r\n\r\n", 400),
                .ends("\(get)X\t: a\r\n\r\n", 400), .ends("\(get): a\r\n\r\n", 400),
                .ends("\(get)X\r\n\r\n", 400), .ends("\(get)X(: a\r\n\r\n", 400),
                .ends("\(get)X\"Y: a\r\n\r\n", 400), .ends("\(get)Ü: a\r\n\r\n", 400),
                .goesOn("\(get)X:\r\nY: \r\nZ: \t\r\n\r\n", 200),
                .goesOn("\(get)X: Ü\r\n\r\n", 200),
                .goesOn("\r\n\(get)\r\n", 200),
            ]
            for byte in [0, 1, 8, 0xb, 0xc, 0x1b, 0x7f] as [UInt8] {
                cases.append(raw("\(get)X: a#b\r\n\r\n", byte))
                cases.append(raw("\(get)X#Y: a\r\n\r\n", byte))
                cases.append(raw("GET /health# HTTP/1.1\r\nHost: test\r\n\r\n", byte))
                cases.append(raw("GET#/health HTTP/1.1\r\nHost: test\r\n\r\n", byte))
                cases.append(raw("#\(get)\r\n", byte))
            }
            return cases
        }
    }

    @Test(arguments: Door.allCases)
    func `a request names one host`(_ door: Door) async throws {
        try await check(door) { ingest in
            let hosts = [
                "", "Host: a\r\nHost: b\r\n", "Host: a\r\nHost: a\r\n", "Host: a b\r\n",
                "Host: a,b\r\n", "Host: a/b\r\n", "Host: b@a\r\n", "Host: a\\b\r\n",
                "Host: a?b\r\n", "Host: a#b\r\n", "Host : a\r\n", "Host:\r\n a\r\n",
            ]
            let good = ["Host:\r\n", "hOST: [::1]:8080\r\n", "Host: a-b_c.example:80 \r\n"]
            return hosts.map { .ends("GET /health HTTP/1.1\r\n\($0)\r\n", 400) }
                + good.map { .goesOn("GET /health HTTP/1.1\r\n\($0)\r\n", 200) }
                + [.goesOn("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200)]
        }
    }

    @Test(arguments: Door.allCases)
    func `other targets, methods and versions are refused`(_ door: Door) async throws {
        try await check(door) { ingest in
            func get(_ line: String, _ fields: String = "") -> String {
                "\(line)\r\nHost: test\r\n\(fields)\r\n"
            }
            return [
                .goesOn(get("GET http://test/health HTTP/1.1"), 200),
                .goesOn(get("OPTIONS * HTTP/1.1"), 404), .goesOn(get("GET /events HTTP/1.1"), 405),
                .goesOn(get("DELETE /events HTTP/1.1"), 405),
                .goesOn(get("POST /health HTTP/1.1", "Content-Length: 3\r\n") + "abc", 405),
                .goesOn(get("GET /health?a=%00#b HTTP/1.1"), 200),
                .goesOn(get("GET /health HTTP/1.1", "Content-Length: 3\r\n") + "abc", 200),
                .goesOn(
                    get("GET /health HTTP/1.1", "\(Self.chunked)\r\n") + "3\r\nabc\r\n0\r\n\r\n",
                    200),
                .goesOn(get("GET /%2e%2e/health HTTP/1.1"), 404),
                .goesOn(get("GET //health HTTP/1.1"), 404),
                .ends(get("CONNECT test:443 HTTP/1.1"), 404),
                .ends(get("GET test:80 HTTP/1.1"), 400), .ends(get("GET health HTTP/1.1"), 400),
                .ends("GET /health\r\n\r\n", 400), .ends("GET /health\r\n", 400),
                .ends(get("GET /health HTTP/0.9"), 400), .ends(get("GET /health HTTP/1.2"), 400),
                .ends(get("GET /health HTTP/2.0"), 400), .ends(get("GET /health HTTP/3"), 400),
                .ends(get("GET /health HTTP/1.10"), 400), .ends(get("GET /health HTTP/01.1"), 400),
                .ends(get("GET /health http/1.1"), 400), .ends(get("GET /health HTTP/1.1 "), 400),
                .ends(get("GET /health HTTP /1.1"), 400), .ends(get("GET /health HTP/1.1"), 400),
                .ends(get("GET /health ICE/1.0"), 400),
                // The decoder takes it for HTTP/1.0.
                .ends(get("GET /health RTSP/1.0"), 200),

                // Words may be told apart by more than one space (RFC 9112, section 3).
                .goesOn(get("GET  /health HTTP/1.1"), 200),
                .goesOn(get("GET /health  HTTP/1.1"), 200),
                .ends(get("GET\t/health\tHTTP/1.1"), 400), .ends(get(" GET /health HTTP/1.1"), 400),
                .ends(get("GET /a b HTTP/1.1"), 400),
                .ends(get("get /health HTTP/1.1"), 400), .ends(get("GeT /health HTTP/1.1"), 400),
                .ends(get("SMUGGLE /health HTTP/1.1"), 400), .ends(get("G /health HTTP/1.1"), 400),
                .ends("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
                .ends("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}", 400),
                .ends(
                    get(
                        "GET /health HTTP/1.1",
                        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
                    ),
                    200),
                .ends(
                    post(
                        ingest, "Connection: Upgrade\r\nUpgrade: websocket\r\n\(Self.length)",
                        Self.body), 202),
                .ends(get("GET /health HTTP/1.1", "Connection: close\r\n"), 200),
                .ends(post(ingest, "Connection: close\r\n\(Self.length)", Self.body), 202),
                .ends(post(ingest, Self.length, Self.body, version: "HTTP/1.0"), 202),
                .goesOn(
                    post(
                        ingest, "Connection: keep-alive\r\n\(Self.length)", Self.body,
                        version: "HTTP/1.0"), 202),
            ]
        }
    }

    @Test(arguments: Door.allCases)
    func `chunks that are not as they must be are refused`(_ door: Door) async throws {
        try await check(door, ["request-timeout": "1s"]) { ingest in
            let sizes = [
                "-5", "+5", "0x5", " 5", "5 ", "5\t", "\t5", "g", "", "5g", "5_0", "5\u{0}",
                "10000000000000005", "FFFFFFFFFFFFFFFFFFFFFFFF", "5;a\nb", "5;\n", "5\n", "5\r",
                "5;a\u{0}b", "5;a\rb", "5 ;a",
            ]
            let whole = Self.chunk(Self.body)
            func sent(_ body: String) -> String { post(ingest, Self.chunked, body) }
            let flood = String(repeating: "a", count: 1 << 20)
            let trailers = String(repeating: "X: a\r\n", count: 70)
            return sizes.map { .ends(sent("\($0)\r\nhello\r\n0\r\n\r\n"), 400) }
                + [
                    .ends(sent("8000000000000000\r\nhello\r\n0\r\n\r\n"), 408),
                    .ends(sent("FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"), 408),
                    .ends(sent("5\r\nhello0\r\n\r\n"), 400),
                    .ends(sent("5\r\nhello\n0\r\n\r\n"), 400),
                    .ends(sent("5\r\nhello\r0\r\n\r\n"), 400),
                    .ends(sent("5\r\nhell\r\n0\r\n\r\n"), 400),
                    .ends(sent("5\nhello\n0\n\n"), 400), .ends(sent("\(whole)0\n\n"), 400),
                    .ends(sent("\(whole)0\r\n\n"), 400),
                    .ends(sent("\(whole)0\r\nX: a\n\r\n"), 400),
                    .ends(sent("\(whole)0\r\nX : a\r\n\r\n"), 400),
                    .ends(sent("\(whole)0\r\nX: a\r\n b\r\n\r\n"), 400),
                    .ends(sent("\(whole)0\r\n\(trailers)\r\n"), 431),
                    .ends(sent("\(whole)0\r\nX: \(flood)\r\n\r\n"), 431),
                    .ends(
                        sent(Self.chunk(Self.body, behindSize: ";a=\(flood)") + Self.ending), 400),
                    .ends(
                        sent(
                            String(
                                repeating: Self.chunk(
                                    " ", behindSize: ";a=\"aaaaaaaaaaaaaaaaaaaaaaaa\""),
                                count: 20_000) + whole + Self.ending), 400),
                    .goesOn(
                        sent(Self.chunk(Self.body, behindSize: ";a=1;b=\"c\"") + Self.ending), 202),
                    .goesOn(
                        sent(
                            Self.body.utf8.map { "1\r\n\(Character(Unicode.Scalar($0)))\r\n" }
                                .joined() + "0000\r\n\r\n"), 202),
                    .goesOn(sent("\(whole)0\r\nX: a\r\nY:\r\n\r\n"), 202),
                    .goesOn(sent("\(whole)0\r\nX:\r\n\r\n"), 202),
                    .goesOn(sent("\(whole)0\r\nHost: b\r\nAuthorization: Bearer x\r\n\r\n"), 202),
                ]
        }
    }

    @Test(arguments: Door.allCases)
    func `a trailer cannot say how long a body is`(_ door: Door) async throws {
        try await check(door) { ingest in
            let whole = Self.chunk(Self.body)
            return ["Content-Length: 400", "Transfer-Encoding: chunked", "Content-Length: 0"].map {
                .ends(post(ingest, Self.chunked, "\(whole)0\r\n\($0)\r\n\r\n"), 400)
            }
        }
    }

    @Test(arguments: Door.allCases)
    func `a head has bounds`(_ door: Door) async throws {
        try await check(door, ["header-timeout": "1s"]) { ingest in
            let get = "GET /health HTTP/1.1\r\nHost: test\r\n"
            let many = (0..<64).map { "X-\($0): a\r\n" }.joined()
            let large = (0..<3).map { "X-\($0): \(String(repeating: "a", count: 6000))\r\n" }
                .joined()
            let long = String(repeating: "a", count: 9 << 10)
            return [
                .ends("GET /\(long) HTTP/1.1\r\nHost: test\r\n\r\n", 431),
                .ends("GET /health?\(long) HTTP/1.1\r\nHost: test\r\n\r\n", 431),
                .ends("\(get)\(long): a\r\n\r\n", 431), .ends("\(get)X: \(long)\r\n\r\n", 431),
                .ends("\(get)\(many)\r\n", 431), .ends("\(get)\(large)\r\n", 431),
                .goesOn("\(get)\(many.dropFirst(8))\r\n", 200),
                .ends(String(repeating: "a", count: 100_000), 400),
            ]
        }
    }

    @Test(arguments: Door.allCases)
    func `what may follow 100 is told apart`(_ door: Door) async throws {
        try await check(door, ["request-timeout": "500ms"]) { ingest in
            let expects = "Expect: 100-continue\r\n"
            return [
                .goesOn(post(ingest, "\(expects)\(Self.length)", Self.body), 100, 202),
                .goesOn(
                    post(ingest, "eXPECT: 100-Continue\r\n\(Self.length)", Self.body), 100, 202),
                .goesOn(post(ingest, "Expect: something\r\n\(Self.length)", Self.body), 202),
                .ends(
                    post(ingest, "\(expects)\(Self.length)", Self.body, version: "HTTP/1.0"), 202),
                // Refused by its head: nobody knows whether a body follows.
                .ends(
                    "POST /none HTTP/1.1\r\nHost: test\r\n\(expects)Content-Length: 5\r\n\r\n", 404),
                .ends(post(ingest, "\(expects)Content-Length: 2000000", Self.body), 413),
            ]
        }
    }

    @Test(arguments: Door.allCases)
    func `every refusal of what is malformed is counted`(_ door: Door) async throws {
        try await withIngest(door) { ingest in
            let malformed = "qoe_ingest_connections_closed_total{reason=\"malformed\"}"
            let texts = [
                "nonsense\r\n\r\n", "GET /health HTTP/1.1\r\n\r\n",
                "POST /events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
            ]
            for (index, text) in texts.enumerated() {
                let client = try ingest.connect()
                try client.send(text)
                #expect(try client.responsesUntilClose().map(\.status) == [400])
                #expect(ingest.metric(malformed) == Double(index + 1), "\(text)")
            }
        }
    }
}

import ProbeCore
import Synchronization
import Telemetry
import TestKit
import Testing
import Transport

@Suite struct HTTPExpectationTests {
    private static let answer =
        "HTTP/1.1 200 OK\r\nX-Cache: HIT\r\nx-cache: MISS\r\nContent-Length: 11\r\n\r\nhello world"

    @Test(arguments: [
        "expect-status=200", "expect-status=201-299%2C200", "expect-body=lo%20wo",
        "expect-body=hello%20world", "forbid-body=error", "expect-header=x-cache",
        "expect-header=X-Cache:%20HIT", "expect-header=X-Cache:MISS",
        "expect-body=hello forbid-body=hellO expect-header=x-cache expect-status=200",
    ])
    func `an answer as expected is good`(options: String) throws {
        let server = try RawServer.answering(Self.answer)
        #expect(try measure("\(server.url) \(options)").failure == nil)
    }

    @Test(arguments: [
        ("expect-status=204", ["200", "204"]),
        ("expect-status=300-399%2C404", ["200", "300-399, 404"]),
        ("expect-body=goodbye", ["expect-body", "goodbye", "11 bytes"]),
        ("forbid-body=world", ["forbid-body", "world"]),
        ("expect-body=hello forbid-body=world", ["forbid-body"]),
        ("expect-header=x-other", ["expect-header", "no x-other"]),
        ("expect-header=x-cache:hit", ["x-cache", "HIT", "hit"]),
        ("expect-body=a%00b", ["\u{FFFD}"]),
    ])
    func `an answer against the expectations fails in http, says how, and keeps its times`(
        options: String, words: [String]
    ) throws {
        let server = try RawServer.answering(Self.answer)
        let found = try measure("\(server.url) \(options)")
        #expect(found.failure?.stage == .http)
        let message = try #require(found.failure).message
        for word in words { #expect(message.contains(word), "\(message)") }
        #expect(found.metrics[.ttfb] != nil && found.metrics[.total] != nil)
    }

    @Test func `an expected status of 404 makes it good`() throws {
        let server = try RawServer.answering("HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n")
        #expect(try measure("\(server.url) expect-status=404").failure == nil)
    }

    @Test func `a text is found over the borders of chunks and segments`() throws {
        let server = try RawServer { connection, patience in
            _ = try connection.readHead(patience)
            try connection.write(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", patience)
            var buffer = [UInt8](repeating: 0, count: 1)
            for byte in "a needle b" {
                try connection.write("1\r\n\(byte)\r\n", patience)
                _ = try? connection.read(into: &buffer, Patience(for: .milliseconds(2)))
            }
            try connection.write("0\r\n\r\n", patience)
        }
        #expect(try measure("\(server.url) expect-body=needle").failure == nil)
        #expect(try measure("\(server.url) forbid-body=needle").failure?.stage == .http)
    }

    @Test func `an expected text that did not come within the budget fails`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let url = "\(target.httpURL)/bytes/100000000"
        let found = try measure("\(url) expect-body=never", bodyBytesMax: 1_000_000)
        #expect(found.failure?.stage == .http)
        #expect(found.failure?.message.contains("byte budget") == true)
        #expect(found.stoppedAtBudget)
        #expect(try measure("\(url) expect-body=qqq", bodyBytesMax: 1_000_000).failure == nil)
        #expect(try measure("\(url) forbid-body=never", bodyBytesMax: 1_000_000).failure == nil)
    }

    @Test func `no coding is asked for, and a body in one is not judged as text`() throws {
        let asked = Mutex("")
        let server = try RawServer { connection, patience in
            let head = try connection.readHead(patience).head
            asked.withLock { $0 = head }
            try connection.write(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
                patience)
            try connection.drain(patience)
        }
        let found = try measure("\(server.url) forbid-body=error")
        #expect(found.failure?.stage == .http)
        #expect(found.failure?.message.contains("gzip") == true)
        #expect(asked.withLock { $0 }.contains("Accept-Encoding: identity"))
        #expect(try measure(server.url).failure == nil)
    }

    @Test func `a certificate that is valid for too short fails in tls with all times`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let url = "\(target.httpsURL)/fast"
        let good = try measure(
            "\(url) expect-certificate=89d", authorityFile: target.authorityFile)
        #expect(good.failure == nil)
        let found = try measure(
            "\(url) expect-certificate=91d expect-status=500", authorityFile: target.authorityFile)
        #expect(found.failure?.stage == .tls)
        #expect(found.failure?.message.contains("expect-certificate") == true)
        #expect(found.metrics[.total] != nil)
    }

    @Test func `a value from the network is shown short and printable`() throws {
        let long = String(repeating: "x", count: 5000)
        let server = try RawServer.answering(
            "HTTP/1.1 200 OK\r\nX-A: \u{202E}\(long)\r\nContent-Length: 0\r\n\r\n")
        let message = try #require(
            try measure("\(server.url) expect-header=x-a:y").failure
        ).message
        #expect(message.utf8.count < 300)
        #expect(!message.contains("\u{202E}"))
    }
}

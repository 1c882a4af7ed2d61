import TargetServing
import ProbeCore
import Telemetry
import TestKit
import Testing
import Transport

@Suite struct FailingStageTests {
    @Test func `a name that does not exist fails in dns with nothing measured`() throws {
        let found = try measure("http://nowhere.invalid/")
        #expect(found.failure?.stage == .dns)
        #expect(found.metrics.isEmpty)
    }

    @Test func `a closed port fails in tcp`() throws {
        let port = try Listener(host: "127.0.0.1", port: 0).address.port
        let found = try measure("http://127.0.0.1:\(port)/")
        #expect(found.failure?.stage == .tcp)
        #expect(found.metrics.isEmpty)
    }

    @Test func `a server that never answers fails in http at the deadline`() throws {
        let server = try RawServer { connection, patience in try connection.drain(patience) }
        let found = try measure(server.url, timeout: .milliseconds(300))
        #expect(found.failure?.stage == .http)
        #expect(found.metrics[.tcp] != nil)
        #expect(found.metrics[.ttfb] == nil)
        #expect(found.metrics[.total] == nil)
    }

    @Test func `a server that never handshakes fails in tls at the deadline`() throws {
        let server = try RawServer { connection, patience in try connection.drain(patience) }
        let found = try measure(server.secureURL, timeout: .milliseconds(300))
        #expect(found.failure?.stage == .tls)
        #expect(found.metrics[.tcp] != nil)
        #expect(found.metrics[.tls] == nil)
    }

    @Test func `garbage instead of a handshake fails in tls`() throws {
        let server = try RawServer { connection, patience in
            try connection.write("SSH-2.0-OpenSSH_9.2p1 Debian\r\n", patience)
            try connection.drain(patience)
        }
        #expect(try measure(server.secureURL).failure?.stage == .tls)
    }

    @Test func `a connection closed in the handshake fails in tls`() throws {
        let server = try RawServer { connection, patience in
            var buffer = [UInt8](repeating: 0, count: 64)
            _ = try connection.read(into: &buffer, patience)
            connection.abortOnClose()
        }
        #expect(try measure(server.secureURL).failure?.stage == .tls)
    }

    @Test func `a certificate for another name fails in tls`() throws {
        try withTemporaryFolder { folder in
            let certificates = try Certificates(in: folder, for: ["other.example"])
            let found = try measureTLS(certificates, trusting: certificates.authorityFile)
            #expect(found.failure?.stage == .tls)
            #expect(found.metrics[.tcp] != nil)
        }
    }

    @Test func `a certificate of an unknown authority fails in tls and says so`() throws {
        try withTemporaryFolder { folder in
            let certificates = try Certificates(in: folder, for: ["127.0.0.1"])
            let found = try measureTLS(certificates, trusting: nil)
            #expect(found.failure?.stage == .tls)
            #expect(found.failure?.message.contains("certificate") == true)
        }
    }

    @Test func `an expired certificate fails in tls and says so`() throws {
        try withTemporaryFolder { folder in
            let certificates = try Certificates(
                in: folder, for: ["127.0.0.1"], validFor: .seconds(-60))
            let found = try measureTLS(certificates, trusting: certificates.authorityFile)
            #expect(found.failure?.stage == .tls)
            #expect(found.failure?.message.contains("expired") == true)
        }
    }

    @Test func `a truncated body fails in throughput and keeps the stages before it`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let found = try measure("\(target.httpURL)/truncate?bytes=100")
        #expect(found.failure?.stage == .throughput)
        #expect(found.status == 200)
        #expect(found.metrics[.ttfb] != nil)
        #expect(found.metrics[.total] == nil)
    }

    @Test func `a reset in the body fails in throughput`() throws {
        let server = try RawServer { connection, patience in
            _ = try connection.readHead(patience)
            try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc", patience)
            // Wait until the client has read what was sent; it has nothing to say itself.
            var buffer = [UInt8](repeating: 0, count: 1)
            _ = try? connection.read(into: &buffer, Patience(for: .milliseconds(50)))
            connection.abortOnClose()
        }
        #expect(try measure(server.url).failure?.stage == .throughput)
    }

    @Test func `a body that stays out fails in throughput at the deadline`() throws {
        let server = try RawServer { connection, patience in
            _ = try connection.readHead(patience)
            try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc", patience)
            try connection.drain(patience)
        }
        let found = try measure(server.url, timeout: .milliseconds(300))
        #expect(found.failure?.stage == .throughput)
    }

    @Test func `a close-delimited body over TLS must be ended by TLS`() throws {
        try withTemporaryFolder { folder in
            let certificates = try Certificates(in: folder, for: ["127.0.0.1"])
            let server = try RawServer { connection, patience in
                try connection.acceptTLS(certificates.serverTLS, patience)
                _ = try connection.readHead(patience)
                try connection.write("HTTP/1.1 200 OK\r\n\r\nabc", patience)
                // Closed without TLS's own ending, as somebody in between could.
            }
            let found = try measure(
                server.secureURL, authorityFile: certificates.authorityFile)
            #expect(found.failure?.stage == .throughput)
        }
    }

    @Test(arguments: [
        "", "220 mail.example ESMTP\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ])
    func `an answer that is not proper http fails in http`(answer: String) throws {
        let server = try RawServer.answering(answer)
        #expect(try measure(server.url).failure?.stage == .http)
    }

    @Test func `a head that is too large fails in http`() throws {
        let field = "X-Filler: " + String(repeating: "a", count: 1000) + "\r\n"
        let server = try RawServer.answering(
            "HTTP/1.1 200 OK\r\n" + String(repeating: field, count: 100) + "\r\n")
        let found = try measure(server.url)
        #expect(found.failure?.stage == .http)
        #expect(found.failure?.message.contains("larger") == true)
    }

    @Test(arguments: ["X-Endless: 1\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "a"])
    func `an endless head ends at its limit`(piece: String) throws {
        let server = try RawServer { connection, patience in
            _ = try connection.readHead(patience)
            let isStatus = piece.hasPrefix("HTTP")
            if !isStatus { try connection.write("HTTP/1.1 200 OK\r\n", patience) }
            while true {
                try connection.write(String(repeating: piece, count: 100), patience)
            }
        }
        #expect(try measure(server.url).failure?.stage == .http)
    }

    @Test func `an endless body ends at the budget`() throws {
        let server = try RawServer { connection, patience in
            _ = try connection.readHead(patience)
            try connection.write("HTTP/1.1 200 OK\r\n\r\n", patience)
            while true {
                try connection.write(String(repeating: "a", count: 10_000), patience)
            }
        }
        let found = try measure(server.url, bodyBytesMax: 1 << 20)
        #expect(found.failure == nil)
        #expect(found.stoppedAtBudget)
    }

    @Test func `a body that never ends is held to the deadline when the budget is not`() throws {
        let server = try RawServer { connection, patience in
            _ = try connection.readHead(patience)
            try connection.write(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", patience)
            // Chunks of one byte with long extensions: much traffic for little body.
            let chunk = "1;" + String(repeating: "x", count: 1000) + "\r\na\r\n"
            while true { try connection.write(String(repeating: chunk, count: 50), patience) }
        }
        let found = try measure(server.url, timeout: .milliseconds(500))
        #expect(found.failure?.stage == .throughput)
    }

    @Test func `a server that trickles is held to the deadline`() throws {
        let server = try RawServer { connection, patience in
            _ = try connection.readHead(patience)
            var buffer = [UInt8](repeating: 0, count: 1)
            for byte in "HTTP/1.1 200 OK\r\nX: " {
                try connection.write(String(byte), patience)
                _ = try? connection.read(into: &buffer, Patience(for: .milliseconds(50)))
            }
        }
        #expect(try measure(server.url, timeout: .milliseconds(200)).failure?.stage == .http)
    }

    private func measureTLS(
        _ certificates: Certificates, trusting file: String?
    ) throws -> Measurement {
        let server = try RawServer { connection, patience in
            try connection.acceptTLS(certificates.serverTLS, patience)
            try connection.drain(patience)
        }
        return try measure(server.secureURL, timeout: .seconds(5), authorityFile: file)
    }
}

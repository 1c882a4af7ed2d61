import ProbeCore
import Synchronization
import Telemetry
import TestKit
import Testing
import Transport

@Suite struct TransferMeterTests {
    /// Long enough for some intervals, with a byte budget that a loopback does not use up.
    private static let short = "max-time=300ms max-bytes=16GiB"

    @Test(arguments: ["download", "upload"], [false, true])
    func `a transfer has a rate, of all its connections`(
        direction: String, isSecure: Bool
    ) throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let url = isSecure ? target.httpsURL : target.httpURL
        let found = try measure(
            "\(direction)+\(url)/bytes/1000000000000 \(Self.short) connections=3",
            authorityFile: target.authorityFile)
        #expect(found.failure == nil, "\(String(describing: found.failure))")
        let rate = try value(.throughput, of: found)
        #expect(rate > 0)
        #expect(try number("overall_mbps", of: found) > 0)
        #expect(try number("connections", of: found) == 3)
        #expect(try number("bytes", of: found) > 0)
        #expect(try text("direction", of: found) == direction)
        #expect(found.metrics[.tcp] != nil && found.metrics[.rtt] != nil)
        #expect((found.metrics[.tls] != nil) == isSecure)
        #expect((detail("retransmitted_pct", of: found) != nil) == (direction == "upload"))
        #expect((detail("packets_out_of_order", of: found) != nil) == (direction == "download"))
        // Nothing but the rate of the load was measured of a single request.
        for metric in [Metric.ttfb, .total, .loadedRTT, .loss, .dns] {
            #expect(found.metrics[metric] == nil)
        }
    }

    @Test func `a transfer ends at its byte budget`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let found = try measure(
            "download+\(target.httpURL)/bytes/1000000000000 max-bytes=1MiB connections=2")
        #expect(found.failure == nil)
        let bytes = try number("bytes", of: found)
        // Each connection's last turn may go beyond.
        #expect(bytes >= 1_048_576 && bytes < 2_097_152)
    }

    @Test func `an object is loaded again on the same connection`() throws {
        let heads = Mutex<[String]>([])
        let accepted = Mutex(0)
        let server = try RawServer(connections: 2) { connection, patience in
            accepted.withLock { $0 += 1 }
            let body = String(repeating: "x", count: 300_000)
            while true {
                let head = try connection.readHead(patience).head
                heads.withLock { $0.append(head) }
                try connection.write(
                    "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n\(body)", patience)
            }
        }
        let found = try measure("download+\(server.url) \(Self.short) connections=2")
        #expect(found.failure == nil)
        #expect(found.metrics[.throughput] != nil)
        #expect(accepted.withLock { $0 } == 2)
        #expect(try number("requests_answered", of: found) > 2)
        #expect(heads.withLock { $0 }.allSatisfy { $0.contains("Accept-Encoding: identity") })
    }

    @Test func `a small object has no rate, and the reason is told`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let found = try measure("download+\(target.httpURL)/fast max-time=100ms")
        #expect(found.failure == nil)
        #expect(found.metrics[.throughput] == nil)
        #expect(try text("throughput_absent", of: found).contains("smaller"))
        #expect(try number("requests_answered", of: found) > 1)
    }

    @Test func `a server that closes after its answer ends the transfer`() throws {
        let body = String(repeating: "x", count: 1000)
        let server = try RawServer.answering("HTTP/1.1 200 OK\r\n\r\n\(body)")
        let found = try measure("download+\(server.url) connections=1")
        #expect(found.failure == nil)
        #expect(try number("bytes", of: found) == 1000)
        #expect(found.metrics[.throughput] == nil)
        #expect(detail("throughput_absent", of: found) != nil)
    }

    @Test func `a server may close between two answers`() throws {
        let server = try RawServer { connection, patience in
            let body = String(repeating: "x", count: 400_000)
            for _ in 0..<3 {
                _ = try connection.readHead(patience)
                try connection.write(
                    "HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n\(body)", patience)
            }
        }
        let found = try measure("download+\(server.url) connections=1")
        #expect(found.failure == nil, "\(String(describing: found.failure))")
        #expect(try number("requests_answered", of: found) == 3)
        #expect(try number("bytes", of: found) == 1_200_000)
    }

    @Test func `an upload is chunked, incompressible, ended in order and counted as it arrives`()
        throws
    {
        struct Seen {
            var head = ""
            var body: [UInt8] = []
        }
        let seen = Mutex(Seen())
        let server = try RawServer { connection, patience in
            let (head, rest) = try connection.readHead(patience)
            var received = rest
            var buffer = [UInt8](repeating: 0, count: 64 * 1024)
            let end = Array("\r\n0\r\n\r\n".utf8)
            while !received.suffix(end.count).elementsEqual(end) {
                let count = try connection.read(into: &buffer, patience)
                guard count > 0 else { return }
                received += buffer.prefix(count)
            }
            seen.withLock { $0 = Seen(head: head, body: received) }
            try connection.write("HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n", patience)
        }
        let found = try measure("upload+\(server.url) max-bytes=1MiB connections=1")
        #expect(found.failure == nil)
        #expect(try number("requests_answered", of: found) == 1)
        let (head, body) = seen.withLock { ($0.head, $0.body) }
        #expect(head.hasPrefix("POST / HTTP/1.1"))
        #expect(head.contains("Transfer-Encoding: chunked"))
        // Chunks of 16376 bytes with 8 of framing, and the last one.
        #expect(body.count % 16384 == 5)
        let arrived = body.count / 16384 * 16376
        #expect(arrived >= 1 << 20)
        #expect(try number("bytes", of: found) <= Double(arrived))
        // All 256 values about equally often: nothing to compress.
        var counts = [Int](repeating: 0, count: 256)
        for byte in body { counts[Int(byte)] += 1 }
        let expected = body.count / 256
        #expect(counts.allSatisfy { $0 > expected / 2 && $0 < expected * 2 })
    }

    @Test func `what a receiver never took is not counted as uploaded`() throws {
        let server = try RawServer { connection, patience in
            // Reads the head and leaves all else to the kernel's buffers.
            var buffer = [UInt8](repeating: 0, count: 16)
            _ = try connection.read(into: &buffer, patience)
            patience.interrupt?.sleep(for: .seconds(60))
        }
        let found = try measure(
            "upload+\(server.url) max-time=500ms connections=1 max-bytes=1GiB")
        // The receiver's buffer fills in a moment, and after that hardly anything is acknowledged.
        #expect(found.metrics[.throughput] == nil)
        #expect(try number("bytes", of: found) < 1_000_000)
    }

    @Test func `a slow path has a rate, though each connection carried little`() throws {
        let server = try RawServer(connections: 4) { connection, patience in
            var received = try connection.readHead(patience).rest
            var buffer = [UInt8](repeating: 0, count: 4096)
            let end = Array("\r\n0\r\n\r\n".utf8)
            while !received.suffix(end.count).elementsEqual(end) {
                patience.interrupt?.sleep(for: .milliseconds(20))
                let count = try connection.read(into: &buffer, patience)
                guard count > 0 else { return }
                received = received.suffix(end.count) + buffer.prefix(count)
            }
            try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", patience)
        }
        let found = try measure("upload+\(server.url) max-time=1500ms")
        #expect(found.failure == nil, "\(String(describing: found.failure))")
        #expect(found.metrics[.throughput] != nil, "\(found.details)")
    }

    @Test func `an upload that is answered at once has no rate, and the reason is told`() throws {
        let server = try RawServer { connection, patience in
            _ = try connection.readHead(patience)
            try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", patience)
            try connection.drain(patience)
        }
        let found = try measure("upload+\(server.url) connections=1")
        #expect(found.failure == nil)
        #expect(found.metrics[.throughput] == nil)
        #expect(try text("throughput_absent", of: found).contains("answered"))
    }

    @Test(arguments: [404, 500, 302, 204])
    func `a status that is no success fails a download in http`(status: Int) throws {
        let server = try RawServer(connections: 4) { connection, patience in
            _ = try connection.readHead(patience)
            try connection.write("HTTP/1.1 \(status) x\r\nContent-Length: 0\r\n\r\n", patience)
            try connection.drain(patience)
        }
        let found = try measure("download+\(server.url) max-time=100ms")
        if status == 204 {
            #expect(found.failure == nil)
            #expect(found.metrics[.throughput] == nil)
        } else {
            #expect(found.failure?.stage == .http)
            #expect(found.failure?.message.contains("\(status)") == true)
        }
    }

    @Test func `an upload that is refused in its middle fails in http with the status`() throws {
        let server = try RawServer { connection, patience in
            _ = try connection.readHead(patience)
            try connection.write(
                "HTTP/1.1 413 Too large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", patience
            )
            // What it does not read makes the close a reset.
        }
        let found = try measure("upload+\(server.url) connections=1")
        // The reset may overtake the answer.
        let stage = try #require(found.failure).stage
        #expect(stage == .http || stage == .throughput)
        #expect(found.metrics[.throughput] == nil)
    }

    @Test func `an upload that is refused before it is read fails in http`() throws {
        let server = try RawServer { connection, patience in
            _ = try connection.readHead(patience)
            try connection.write("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", patience)
            try connection.drain(patience)
        }
        let found = try measure("upload+\(server.url) connections=1")
        #expect(found.failure?.stage == .http)
        #expect(found.failure?.message.contains("403") == true)
    }

    @Test(arguments: ["download", "upload"])
    func `a reset in the middle fails in throughput and has no rate`(direction: String) throws {
        let server = try RawServer(connections: 2) { connection, patience in
            _ = try connection.readHead(patience)
            var buffer = [UInt8](repeating: 0, count: 64 * 1024)
            if direction == "upload" {
                for _ in 0..<20 { _ = try connection.read(into: &buffer, patience) }
            } else {
                let piece = String(repeating: "x", count: 100_000)
                try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n", patience)
                for _ in 0..<20 { try connection.write(piece, patience) }
            }
            connection.abortOnClose()
        }
        let found = try measure("\(direction)+\(server.url) connections=2")
        #expect(found.failure?.stage == .throughput, "\(String(describing: found.failure))")
        #expect(found.metrics[.throughput] == nil)
        #expect(found.metrics[.tcp] != nil)
    }

    @Test func `a truncated body fails in throughput`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let found = try measure("download+\(target.httpURL)/truncate?bytes=100000")
        #expect(found.failure?.stage == .throughput)
    }

    @Test func `a server that never answers fails in http`() throws {
        let server = try RawServer(connections: 4) { try $0.drain($1) }
        let found = try measure("download+\(server.url) max-time=200ms")
        #expect(found.failure?.stage == .http)
        #expect(found.metrics[.tcp] != nil)
    }

    @Test func `a body that stands still fails in throughput`() throws {
        let server = try RawServer { connection, patience in
            _ = try connection.readHead(patience)
            try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc", patience)
            try connection.drain(patience)
        }
        let found = try measure("download+\(server.url) max-time=300ms connections=1")
        #expect(found.failure?.stage == .throughput)
    }

    @Test(arguments: ["SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", ""])
    func `an answer that is not proper http fails in http`(answer: String) throws {
        let server = try RawServer.answering(answer)
        for direction in ["download", "upload"] {
            let found = try measure("\(direction)+\(server.url) connections=1")
            #expect(found.failure != nil)
            if direction == "download" { #expect(found.failure?.stage == .http) }
        }
    }

    @Test func `stages before the transfer fail as they are`() throws {
        let port = try Listener(host: "127.0.0.1", port: 0).address.port
        #expect(try measure("download+http://127.0.0.1:\(port)/").failure?.stage == .tcp)
        #expect(try measure("upload+http://nowhere.invalid/").failure?.stage == .dns)
        let target = try LocalTarget()
        defer { target.stop() }
        // Of an authority that is not trusted.
        let found = try measure("upload+\(target.httpsURL)/")
        #expect(found.failure?.stage == .tls)
        #expect(try number("certificate_days_left", of: found) > 80)
    }

    @Test func `a connection too many is done without`() throws {
        // One connection is served; the others' handshakes with TLS never come.
        try withTemporaryFolder { folder in
            let certificates = try Certificates(in: folder, for: ["127.0.0.1"])
            let server = try RawServer { connection, patience in
                try connection.acceptTLS(certificates.serverTLS, patience)
                _ = try connection.readHead(patience)
                try connection.write("HTTP/1.1 200 OK\r\n\r\n", patience)
                while true {
                    try connection.write(String(repeating: "x", count: 65536), patience)
                }
            }
            let found = try measure(
                "download+\(server.secureURL) max-time=200ms connections=3 max-bytes=16GiB",
                timeout: .milliseconds(900), authorityFile: certificates.authorityFile)
            #expect(found.failure == nil)
            #expect(try number("connections", of: found) == 1)
            #expect(try number("connections_failed", of: found) == 2)
        }
    }

    @Test func `an upload over TLS to a slow reader is ended in order`() throws {
        try withTemporaryFolder { folder in
            let certificates = try Certificates(in: folder, for: ["127.0.0.1"])
            let server = try RawServer(connections: 2) { connection, patience in
                try connection.acceptTLS(certificates.serverTLS, patience)
                var received = try connection.readHead(patience).rest
                var buffer = [UInt8](repeating: 0, count: 64 * 1024)
                let end = Array("\r\n0\r\n\r\n".utf8)
                while !received.suffix(end.count).elementsEqual(end) {
                    patience.interrupt?.sleep(for: .milliseconds(1))
                    let count = try connection.read(into: &buffer, patience)
                    received = received.suffix(end.count) + buffer.prefix(count)
                }
                try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", patience)
            }
            let found = try measure(
                "upload+\(server.secureURL) max-time=300ms connections=2 max-bytes=16GiB",
                authorityFile: certificates.authorityFile)
            #expect(found.failure == nil, "\(String(describing: found.failure))")
            #expect(try number("bytes", of: found) > 0)
        }
    }

    @Test(arguments: ["download", "upload"])
    func `an interrupt in the middle ends a transfer, and nothing is told of the target`(
        direction: String
    ) throws {
        let interrupt = try Interrupt()
        let server = try RawServer { connection, patience in
            _ = try connection.readHead(patience)
            interrupt.trigger()
            let piece = String(repeating: "x", count: 65536)
            try connection.write("HTTP/1.1 200 OK\r\n\r\n", patience)
            while true { try connection.write(piece, patience) }
        }
        try expectNotMeasured("\(direction)+\(server.url) connections=1", interrupt)
    }

    @Test(arguments: ["download", "upload", "loaded"])
    func `a probe that ends begins no transfer`(kind: String) throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let interrupt = try Interrupt()
        interrupt.trigger()
        try expectNotMeasured("\(kind)+\(target.httpURL)/bytes/1000000000000", interrupt)
    }

    /// Fails the test when the target was measured, or when the time was used up.
    private func expectNotMeasured(_ target: String, _ interrupt: Interrupt) throws {
        let resolver = Resolver()
        defer { resolver.shutDown() }
        let meters = Meters(
            dialer: Dialer(resolver: resolver, tls: try TLSContext.client()),
            timeout: .seconds(60), bodyBytesMax: 1 << 20, userAgent: "test")
        let outcome = meters.measure(
            try Target("\(target) max-time=60s max-bytes=16GiB"), interrupt: interrupt)
        guard case .notMeasured = outcome else {
            Issue.record("it was measured")
            return
        }
    }
}

import Glibc
import OwnedThreads
import Postgres
import PrivateServers
import TestKit
import Testing

@Suite struct TCPProxyTests {
    /// A server that sends back what it gets, until the test ends.
    private func withEcho(_ body: (Int) throws -> Void) throws {
        let port = try freeLoopbackPort()
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = loopback(port)
        let status = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(status == 0 && listen(listener, 16) == 0)
        let server = OwnedThread(name: "echo") {
            var threads: [OwnedThread] = []
            while case let peer = accept(listener, nil, nil), peer >= 0 {
                threads.append(
                    OwnedThread(name: "echo peer") {
                        var chunk = [UInt8](repeating: 0, count: 4096)
                        while case let count = recv(peer, &chunk, chunk.count, 0), count > 0 {
                            send(peer, chunk, count, Int32(MSG_NOSIGNAL))
                        }
                        close(peer)
                    })
            }
            for thread in threads { thread.join() }
        }
        defer {
            shutdown(listener, Int32(SHUT_RDWR))
            server.join()
            close(listener)
        }
        try body(port)
    }

    private func withProxiedEcho(_ body: (TCPProxy, () -> Client) throws -> Void) throws {
        try withEcho { port in
            let proxy = try TCPProxy(to: port)
            defer { proxy.stop() }
            try body(proxy) { Client(port: proxy.port) }
        }
    }

    @Test func `bytes and the end of them pass both ways`() throws {
        try withProxiedEcho { _, connect in
            let client = connect()
            client.send("hello")
            #expect(client.receive() == .bytes("hello"))
            client.finish()
            #expect(client.receive() == .end)
        }
    }

    @Test func `a cut resets open connections and lets new ones in`() throws {
        try withProxiedEcho { proxy, connect in
            let client = connect()
            client.send("a")
            #expect(client.receive() == .bytes("a"))
            proxy.cut()
            #expect(client.receive() == .reset)
            let next = connect()
            next.send("b")
            #expect(next.receive() == .bytes("b"))
        }
    }

    @Test func `a stalled link takes bytes and hands them on later`() throws {
        try withProxiedEcho { proxy, connect in
            let client = connect()
            client.send("a")
            #expect(client.receive() == .bytes("a"))
            proxy.set(.stall)
            client.send("b")
            #expect(client.receive(within: 100) == .nothing)
            proxy.set(.forward)
            #expect(client.receive() == .bytes("b"))
        }
    }

    @Test func `a half-open link is silent for ever, and new ones work`() throws {
        try withProxiedEcho { proxy, connect in
            let client = connect()
            client.send("a")
            #expect(client.receive() == .bytes("a"))
            proxy.leaveHalfOpen()
            client.send("b")
            #expect(client.receive(within: 100) == .nothing)
            let next = connect()
            next.send("c")
            #expect(next.receive() == .bytes("c"))
            #expect(client.receive(within: 100) == .nothing)
        }
    }

    @Test func `a delayed link delivers later`() throws {
        try withProxiedEcho { proxy, connect in
            proxy.set(.delay(.milliseconds(50)))
            let client = connect()
            let start = ContinuousClock.now
            client.send("a")
            #expect(client.receive() == .bytes("a"))
            #expect(ContinuousClock.now - start >= .milliseconds(100))
        }
    }

    @Test func `the answer to a COMMIT is lost and its effect is not`() throws {
        try withPostgres { url in
            let direct = try PostgresConnection(to: PostgresConnectionString(url))
            try direct.execute("CREATE TABLE t (n integer)")
            let port = try #require(url.split(separator: ":").last?.split(separator: "/").first)
            let proxy = try TCPProxy(to: try #require(Int(port)))
            defer { proxy.stop() }
            let proxied = url.replacing(":\(port)/", with: ":\(proxy.port)/")
            for round in 1...2 {
                let connection = try PostgresConnection(to: PostgresConnectionString(proxied))
                var pipeline = PostgresPipeline()
                pipeline.append(PostgresStatement("insert", "INSERT INTO t VALUES (1)"))
                // The second time the statements are known to the server already.
                if round == 2 { _ = try connection.runTransaction(pipeline) }
                proxy.loseNextCommitReply()
                let error = #expect(throws: PostgresError.self) {
                    _ = try connection.runTransaction(pipeline)
                }
                #expect(error?.code == .commitOutcomeUnknown)
                #expect(eventually { proxy.lostCommitReplies == round })
            }
            var row = try #require(try direct.query("SELECT count(*) FROM t").first)
            #expect(try row.next(Int64.self) == 3)
        }
    }
}

/// One blocking connection.
private final class Client {
    enum Received: Equatable {
        case bytes(String), end, reset, nothing
    }

    private let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)

    init(port: Int) {
        var address = loopback(port)
        let status = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        #expect(status == 0)
    }

    deinit { close(descriptor) }

    func send(_ text: String) {
        let bytes = Array(text.utf8)
        Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    func finish() { shutdown(descriptor, Int32(SHUT_WR)) }

    func receive(within milliseconds: Int32 = 10_000) -> Received {
        var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&wanted, 1, milliseconds) > 0 else { return .nothing }
        var chunk = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &chunk, chunk.count, 0)
        if count > 0 { return .bytes(String(decoding: chunk[..<count], as: UTF8.self)) }
        return count == 0 ? .end : .reset
    }
}

private func loopback(_ port: Int) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    return address
}

import NATSClient
import OwnedThreads
import PrivateServers
import Testing
import TestKit

struct NATSConnectionTests {
    @Test func `a published message reaches a subscription with its reply subject`() throws {
        try withNATSServer { server in
            let connection = try NATSConnection(options(server.url))
            defer { connection.close() }
            let received = Monitor<[NATSMessage]>([])
            let subscription = try connection.subscribe("a.*") { message in
                received.update { $0.append(message) }
            }
            try connection.publish([1, 2, 3], to: "a.b", replyTo: "c")
            let message = try #require(
                received.wait(until: .now + .seconds(10)) { $0.first })
            #expect(message.subject == "a.b")
            #expect(message.replySubject == "c")
            #expect(message.withUnsafePayload { Array($0) } == [1, 2, 3])
            #expect(message.header("Status") == nil)
            subscription.cancel()
        }
    }

    @Test func `an empty payload is a payload`() throws {
        try withNATSServer { server in
            let connection = try NATSConnection(options(server.url))
            let received = Monitor<[NATSMessage]>([])
            let subscription = try connection.subscribe("a") { message in
                received.update { $0.append(message) }
            }
            try connection.publish([], to: "a")
            let message = try #require(
                received.wait(until: .now + .seconds(10)) { $0.first })
            #expect(message.payloadByteCount == 0)
            #expect(message.withPayload { $0.byteCount } == 0)
            subscription.cancel()
        }
    }

    @Test func `a subscription survives a restart of the server`() throws {
        try withNATSServer { server in
            let events = Monitor<[String]>([])
            let connection = try NATSConnection(options(server.url)) { event in
                events.update { $0.append("\(event)") }
            }
            defer { connection.close() }
            let received = Monitor(0)
            let subscription = try connection.subscribe("a") { _ in
                received.update { $0 += 1 }
            }
            try server.kill()
            try #require(waits(events) { $0.contains("disconnected") })
            #expect(!connection.isConnected)
            try server.restart()
            try #require(waits(events) { $0.contains("reconnected") })
            #expect(connection.isConnected)
            try connection.publish([1], to: "a")
            #expect(waits(received) { $0 == 1 })
            subscription.cancel()
        }
    }

    @Test func `handlers are released when subscriptions end before and after a close`() throws {
        try withNATSServer { server in
            let counter = LiveCount()
            do {
                let connection = try NATSConnection(options(server.url))
                var subscriptions: [NATSSubscription] = []
                for _ in 0..<20 {
                    let token = counter.makeToken()
                    subscriptions.append(try connection.subscribe("a") { _ in _ = token })
                }
                subscriptions.removeFirst(10)
                connection.close()
                subscriptions.removeAll()
            }
            #expect(eventually { counter.count == 0 })
        }
    }

    @Test func `nobody there is a retriable error with libnats's words`() throws {
        let error = try #require(
            thrownError { () throws(NATSError) in
                try NATSConnection(options("nats://127.0.0.1:1"))
            })
        #expect(NATSError.Code.noServer ~= error)
        #expect(error.isRetriable)
        #expect(error.call == "natsConnection_Connect")
        #expect(!error.text.isEmpty)
    }

    @Test func `no server to name is an error that no retry heals`() throws {
        let error = try #require(
            thrownError { () throws(NATSError) in
                try NATSConnection(NATSOptions(urls: [], name: "test"))
            })
        #expect(!error.isRetriable)
    }

    @Test func `a request without anybody to answer fails at once`() throws {
        try withNATSServer { server in
            let connection = try NATSConnection(options(server.url))
            let error = try #require(
                thrownError { () throws(NATSError) in
                    try connection.request("nobody", payload: [], timeout: .seconds(60))
                })
            #expect(error.code == .noResponders)
        }
    }

    @Test func `the version of the server is told`() throws {
        try withNATSServer { server in
            let connection = try NATSConnection(options(server.url))
            let version = try #require(connection.serverVersion())
            #expect(version.major == 2)
            #expect(version >= ServerVersion(major: 2, minor: 9, patch: 0))
        }
    }

    @Test func `credentials do not show in a server's address`() throws {
        try withNATSServer { server in
            let connection = try NATSConnection(
                options("nats://user:secret@127.0.0.1:\(server.port)"))
            #expect(connection.connectedURL == server.url)
        }
    }
}

struct NATSConnectorTests {
    @Test func `a service that starts before its server connects later`() throws {
        try withNATSServer { server in
            try server.stop()
            let connector = NATSConnector(options(server.url))
            defer { connector.stop() }
            #expect(throws: NATSError.self) {
                try connector.waitUntilConnected(within: .milliseconds(50))
            }
            #expect(!connector.isConnected)
            try server.restart()
            _ = try connector.waitUntilConnected(within: .seconds(20))
            #expect(connector.isConnected)
        }
    }

    @Test func `an outage shows and passes on the same connection`() throws {
        try withNATSServer { server in
            let connector = NATSConnector(options(server.url))
            defer { connector.stop() }
            let first = try connector.waitUntilConnected(within: .seconds(20))
            try server.kill()
            #expect(eventually { !connector.isConnected })
            try server.restart()
            let second = try connector.waitUntilConnected(within: .seconds(20))
            #expect(first === second)
        }
    }

    @Test func `a connection that was closed for ever is replaced`() throws {
        try withNATSServer { server in
            let connector = NATSConnector(options(server.url))
            defer { connector.stop() }
            let first = try connector.waitUntilConnected(within: .seconds(20))
            first.close()
            #expect(eventually { connector.connection.map { $0 !== first } ?? false })
            #expect(eventually { connector.isConnected })
        }
    }

    @Test func `a stop ends a connector that never connected`() {
        let connector = NATSConnector(options("nats://127.0.0.1:1"))
        #expect(eventually { connector.lastError != nil })
        connector.stop()
        #expect(connector.connection == nil)
    }
}

/// What `body` throws, or `nil` when it succeeds.
func thrownError<Result>(_ body: () throws(NATSError) -> Result) -> NATSError? {
    do throws(NATSError) {
        _ = try body()
        return nil
    } catch {
        return error
    }
}

func options(_ url: String) -> NATSOptions {
    NATSOptions(urls: [url], name: "test")
}

/// Whether the monitor's value fulfils `condition` before a generous deadline.
func waits<State>(_ monitor: Monitor<State>, for condition: (State) -> Bool) -> Bool {
    monitor.wait(until: .now + .seconds(20)) { condition($0) ? true : nil } ?? false
}

/// Counts how many of its tokens are alive.
final class LiveCount: Sendable {
    final class Token: Sendable {
        let owner: LiveCount

        init(_ owner: LiveCount) {
            self.owner = owner
        }

        deinit {
            owner.live.withLock { $0 -= 1 }
        }
    }

    private let live = Monitor(0)

    var count: Int { live.withLock { $0 } }

    func makeToken() -> Token {
        live.withLock { $0 += 1 }
        return Token(self)
    }
}

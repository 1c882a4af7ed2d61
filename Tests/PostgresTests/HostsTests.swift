import Postgres
import PrivateServers
import TestKit
import Testing

@Suite struct HostsTests {
    private func withPair(_ body: (PostgresServer, PostgresServer) throws -> Void) throws {
        try withTemporaryFolder { folder in
            try withPostgresServer { primary in
                var settings = PostgresServer.Settings(dataFolder: "\(folder)/replica")
                settings.isDurable = false
                settings.primaryURL = primary.superuserURL()
                let replica = try PostgresServer(settings)
                defer { try? replica.kill() }
                try body(primary, replica)
            }
        }
    }

    @Test func `of several hosts the one of the wanted kind is taken, before and after a failover`()
        throws
    {
        try withPair { primary, replica in
            func connect(_ wanted: String) throws -> PostgresConnection {
                try PostgresConnection(
                    to: PostgresConnectionString(
                        "postgresql://qoe@127.0.0.1:\(replica.port),127.0.0.1:\(primary.port)/"
                            + "telemetry?target_session_attrs=\(wanted)"))
            }
            try primary.awaitReplay(by: replica)
            let (atPrimary, atReplica) =
                ("127.0.0.1:\(primary.port)", "127.0.0.1:\(replica.port)")
            #expect(try connect("read-write").host == atPrimary)
            #expect(try connect("primary").host == atPrimary)
            #expect(try connect("standby").host == atReplica)
            #expect(try connect("prefer-standby").host == atReplica)
            #expect(try connect("any").host == atReplica)

            try primary.kill()
            #expect(try connect("prefer-standby").host == atReplica)
            let error = #expect(throws: PostgresError.self) { try connect("read-write") }
            #expect(error?.code == .connectFailed)
            #expect(error?.retry == .retriable)
            // One reason per host.
            #expect(error?.message.contains("is read-only") == true)
            #expect(error?.message.contains("Connection refused") == true)

            try replica.promote()
            #expect(try connect("read-write").host == atReplica)
            #expect(try connect("prefer-standby").host == atReplica)
            #expect(throws: PostgresError.self) { try connect("standby") }
        }
    }

    @Test func `a peer that went away without a word is noticed`() throws {
        try withPostgresServer { server in
            let proxy = try TCPProxy(to: server.port)
            defer { proxy.stop() }
            // As the aggregator waits for an answer.
            let connection = try PostgresConnection(
                to: PostgresConnectionString(
                    "postgresql://qoe@127.0.0.1:\(proxy.port)/telemetry"),
                timeout: .seconds(8))
            _ = try connection.query("SELECT 1")
            proxy.leaveHalfOpen()
            let start = ContinuousClock.now
            let error = #expect(throws: PostgresError.self) { try connection.query("SELECT 1") }
            print("a dead peer was noticed after \(ContinuousClock.now - start)")
            #expect(error?.code == .timedOut)
            #expect(error?.retry == .retriable)
            #expect(error?.needsNewConnection == true)
            // New connections work.
            #expect(
                try PostgresConnection(
                    to: PostgresConnectionString(
                        "postgresql://qoe@127.0.0.1:\(proxy.port)/telemetry")
                ).query("SELECT 1").rowCount == 1)
        }
    }
}

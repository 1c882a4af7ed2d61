import Postgres
import PrivateServers
import TestKit
import Testing

@Suite struct ReplicationTests {
    private func connect(_ server: PostgresServer) throws -> PostgresConnection {
        try PostgresConnection(to: PostgresConnectionString(server.url))
    }

    private func numbers(_ server: PostgresServer) throws -> String {
        var row = try #require(
            try connect(server).query("SELECT string_agg(n::text, ',' ORDER BY n) FROM t").first)
        return try row.next(String.self)
    }

    @Test func `a replica that was cut off takes over without the last commits`() throws {
        try withTemporaryFolder { folder in
            try withPostgresServer { primary in
                var settings = PostgresServer.Settings(dataFolder: "\(folder)/replica")
                settings.isDurable = false
                settings.primaryURL = primary.superuserURL()
                let replica = try PostgresServer(settings)
                defer { try? replica.kill() }
                try connect(primary).execute("CREATE TABLE t AS SELECT 1 AS n")
                try primary.awaitReplay(by: replica)
                #expect(try replica.isReplica())
                #expect(try numbers(replica) == "1")

                try replica.stopFollowing()
                try connect(primary).execute("INSERT INTO t VALUES (2)")
                try primary.kill()
                try replica.promote()
                #expect(try !replica.isReplica())
                #expect(try replica.timeline() == 2)
                try connect(replica).execute("INSERT INTO t VALUES (3)")
                #expect(try numbers(replica) == "1,3")

                // Left behind, the old primary takes writes as well.
                try primary.restart()
                #expect(try primary.timeline() == 1)
                #expect(try numbers(primary) == "1,2")
                try primary.kill()

                settings.dataFolder = "\(folder)/second"
                settings.primaryURL = replica.superuserURL()
                let second = try PostgresServer(settings)
                defer { try? second.kill() }
                try replica.awaitReplay(by: second)
                #expect(try numbers(second) == "1,3")
            }
        }
    }
}

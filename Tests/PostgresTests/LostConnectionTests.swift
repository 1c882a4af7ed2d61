import OwnedThreads
import Postgres
import PrivateServers
import Testing
import TestKit

@Suite struct LostConnectionTests {
    private func terminate(_ pid: Int32, _ url: String) throws {
        let other = try PostgresConnection(to: PostgresConnectionString(url))
        var parameters = PostgresParameters()
        parameters.append(pid)
        _ = try other.query("SELECT pg_terminate_backend($1)", parameters)
    }

    /// Waits until a session named `slow` runs a statement, then calls `act`.
    private func whenSlow(_ url: String, _ act: @escaping @Sendable (Int32) throws -> Void)
        -> OwnedThread
    {
        OwnedThread(name: "saboteur") {
            guard let address = try? PostgresConnectionString(url),
                let observer = try? PostgresConnection(to: address)
            else { return }
            var pid: Int32?
            _ = eventually {
                let found = try? observer.query(
                    "SELECT pid FROM pg_stat_activity WHERE application_name = 'slow' "
                        + "AND wait_event = 'PgSleep' AND datname = current_database()")
                var row = found?.first
                pid = try? row?.next(Int32.self)
                return pid != nil
            }
            if let pid { try? act(pid) }
        }
    }

    @Test func `a session ended by an administrator is worth another try`() throws {
        try withPostgres { url in
            let connection = try PostgresConnection(
                to: PostgresConnectionString(url, applicationName: "slow"))
            let saboteur = whenSlow(url) { try terminate($0, url) }
            defer { saboteur.join() }
            let error = #expect(throws: PostgresError.self) {
                try connection.query("SELECT pg_sleep(60)")
            }
            #expect(error?.code == .server(.adminShutdown))
            #expect(error?.retry == .retriable)
            #expect(error?.needsNewConnection == true)
            #expect(!connection.isOpen)
            let next = #expect(throws: PostgresError.self) { try connection.execute("SELECT 1") }
            #expect(next?.code == .connectionLost)
        }
    }

    @Test func `a killed server is a lost connection, and after its restart all is well`() throws {
        try withPostgresServer { server in
            let url = server.url
            let connection = try PostgresConnection(
                to: PostgresConnectionString(url, applicationName: "slow"))
            let saboteur = whenSlow(url) { _ in try server.kill() }
            defer { saboteur.join() }
            let error = #expect(throws: PostgresError.self) {
                try connection.query("SELECT pg_sleep(60)")
            }
            #expect(error?.retry == .retriable)
            #expect(error?.needsNewConnection == true)
            saboteur.join()
            let refused = #expect(throws: PostgresError.self) {
                try PostgresConnection(to: PostgresConnectionString(url))
            }
            #expect(refused?.code == .connectFailed)
            try server.restart()
            let again = try PostgresConnection(to: PostgresConnectionString(url))
            #expect(try again.query("SELECT 1").rowCount == 1)
        }
    }

    @Test func `a wait ends at its time limit and closes the connection`() throws {
        try withPostgres { url in
            let connection = try PostgresConnection(
                to: PostgresConnectionString(url), timeout: .milliseconds(50))
            let error = #expect(throws: PostgresError.self) {
                try connection.query("SELECT pg_sleep(60)")
            }
            #expect(error?.code == .timedOut)
            #expect(error?.retry == .retriable)
            #expect(!connection.isOpen)
        }
    }

    @Test func `an interrupt ends a wait under way and every later one`() throws {
        try withPostgres { url in
            let interrupt = try PostgresInterrupt()
            let connection = try PostgresConnection(
                to: PostgresConnectionString(url, applicationName: "slow"), interrupt: interrupt)
            let saboteur = whenSlow(url) { _ in interrupt.trigger() }
            defer { saboteur.join() }
            let error = #expect(throws: PostgresError.self) {
                try connection.query("SELECT pg_sleep(60)")
            }
            #expect(error?.code == .interrupted)
            let connecting = #expect(throws: PostgresError.self) {
                try PostgresConnection(
                    to: PostgresConnectionString(url), interrupt: interrupt)
            }
            #expect(connecting?.code == .interrupted)
        }
    }

    @Test func `a server that accepts and never answers is passed over`() throws {
        try withPostgresServer { server in
            server.pause()
            defer { server.resume() }
            try withPostgres { url in
                let port = try #require(url.split(separator: ":").last?.split(separator: "/").first)
                let name = try #require(url.split(separator: "/").last)
                let address = try PostgresConnectionString(
                    "host=127.0.0.1,127.0.0.1 port=\(server.port),\(port) user=qoe "
                        + "dbname=\(name) connect_timeout=2")
                let connection = try PostgresConnection(to: address)
                #expect(connection.host == "127.0.0.1:\(port)")
            }
        }
    }
}

/// COMMIT is made slow by a deferred trigger that sleeps.
@Suite struct CommitOutcomeTests {
    private static let schema = """
        CREATE TABLE t (n bigint PRIMARY KEY, pause float8);
        CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep(NEW.pause); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON t
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle();
        """

    private func insert(_ number: Int64, pausing seconds: Double) -> PostgresPipeline {
        var parameters = PostgresParameters()
        parameters.append(number)
        parameters.append(seconds)
        var pipeline = PostgresPipeline()
        pipeline.append(PostgresStatement("insert", "INSERT INTO t VALUES ($1, $2)"), parameters)
        return pipeline
    }

    private func count(_ url: String) throws -> Int64 {
        let connection = try PostgresConnection(to: PostgresConnectionString(url))
        var row = try #require(try connection.query("SELECT count(*) FROM t").first)
        return try row.next(Int64.self)
    }

    @Test func `an answer to COMMIT that does not come in time is an unknown outcome`() throws {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            try connection.execute(Self.schema)
            connection.timeout = .milliseconds(200)
            let error = #expect(throws: PostgresError.self) {
                try connection.runTransaction(insert(1, pausing: 1))
            }
            #expect(error?.code == .commitOutcomeUnknown)
            #expect(error?.retry == .unknownOutcome)
            #expect(!connection.isOpen)
            // Here the server went on and committed: repeating blindly would have doubled it.
            #expect(try eventually { try count(url) == 1 })
        }
    }

    @Test func `a session ended while it commits is an unknown outcome`() throws {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            try connection.execute(Self.schema)
            let pid = try #require(connection.backendPID)
            let saboteur = OwnedThread(name: "saboteur") {
                guard let address = try? PostgresConnectionString(url),
                    let other = try? PostgresConnection(to: address)
                else { return }
                let terminate =
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    + "WHERE pid = \(pid) AND query = 'COMMIT' AND wait_event = 'PgSleep'"
                _ = eventually { (try? other.query(terminate).rowCount) == 1 }
            }
            defer { saboteur.join() }
            let error = #expect(throws: PostgresError.self) {
                try connection.runTransaction(insert(1, pausing: 60))
            }
            #expect(error?.code == .commitOutcomeUnknown)
        }
    }

    @Test func `a statement refused before COMMIT is a known outcome even if the session ends`()
        throws
    {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            try connection.execute(Self.schema)
            var pipeline = insert(1, pausing: 0)
            pipeline.append(
                PostgresStatement("suicide", "SELECT pg_terminate_backend(pg_backend_pid())"))
            let error = #expect(throws: PostgresError.self) {
                try connection.runTransaction(pipeline)
            }
            #expect(error?.code == .server(.adminShutdown))
            #expect(error?.retry == .retriable)
            #expect(try count(url) == 0)
        }
    }

    @Test func `a COMMIT refused by a constraint is a known outcome`() throws {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            try connection.execute(
                "CREATE TABLE t (n bigint UNIQUE DEFERRABLE INITIALLY DEFERRED, pause float8)")
            var pipeline = insert(1, pausing: 0)
            for step in [Int64(1), 2] {
                var parameters = PostgresParameters()
                parameters.append(step)
                parameters.append(0.0)
                pipeline.append(
                    PostgresStatement("insert", "INSERT INTO t VALUES ($1, $2)"), parameters)
            }
            let error = #expect(throws: PostgresError.self) {
                try connection.runTransaction(pipeline)
            }
            #expect(error?.code == .server(.uniqueViolation))
            #expect(connection.isOpen)
            #expect(try count(url) == 0)
        }
    }
}

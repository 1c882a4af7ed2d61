import Postgres
import TestKit
import Testing

@testable import PrivateServers

#if canImport(Glibc)
    import Glibc
#endif

@Suite struct PostgresServerTests {
    private func connect(_ url: String) throws -> PostgresConnection {
        try PostgresConnection(to: PostgresConnectionString(url))
    }

    private func text(_ connection: PostgresConnection, _ sql: String) throws -> String {
        var row = try #require(try connection.query(sql).first)
        return try row.next(String.self)
    }

    @Test func `a new server has the role and the database, and only listens at home`() throws {
        try withPostgresServer { server in
            let connection = try connect(server.url)
            #expect(
                try text(connection, "SELECT current_user || '@' || current_database()")
                    == "qoe@telemetry")
            #expect(try text(connection, "SHOW listen_addresses") == "127.0.0.1")
            #expect(try text(connection, "SHOW server_encoding") == "UTF8")
            let folder = try #require(server.socketFolder)
            let local = try connect("host=\(folder) port=\(server.port) user=qoe dbname=telemetry")
            #expect(try text(local, "SELECT 'here'") == "here")
        }
    }

    @Test func `a server is known by its folder, however that is spelled`() throws {
        try withTemporaryFolder { folder in
            #expect(symlink(folder, "\(folder)/link") == 0)
            var settings = PostgresServer.Settings(dataFolder: "\(folder)/link//./server/")
            settings.isDurable = false
            let server = try PostgresServer(settings)
            #expect(server.isRunning)
            try server.stop()
        }
    }

    @Test func `what was written is there after a stop and after a kill`() throws {
        try withPostgresServer { server in
            let port = server.port
            try connect(server.url).execute("CREATE TABLE t AS SELECT 1 AS n")
            try server.stop()
            #expect(server.exit == .code(0))
            try server.restart()
            #expect(server.port == port)
            try connect(server.url).execute("INSERT INTO t VALUES (2)")
            try server.kill()
            #expect(server.exit == .signal(SIGKILL))
            #expect(!server.isRunning)
            try server.restart()
            let connection = try connect(server.url)
            #expect(try text(connection, "SELECT string_agg(n::text, ',') FROM t") == "1,2")
        }
    }

    @Test func `another instance takes over the data of one that is gone`() throws {
        try withPostgresServer { server in
            try connect(server.url).execute("CREATE TABLE t AS SELECT 'kept' AS word")
            try server.kill()
            // A process id that lives, as after a reboot: this process's own.
            let pidFile = "\(server.settings.clusterFolder)/postmaster.pid"
            let file = try #require(fopen(pidFile, "w"))
            fputs("\(getpid())\n\(server.settings.clusterFolder)\n0\n\(server.port)\n", file)
            fclose(file)
            let next = try PostgresServer(server.settings)
            defer { try? next.kill() }
            #expect(try text(connect(next.url), "SELECT word FROM t") == "kept")
        }
    }

    @Test func `a second server on the same data is refused`() throws {
        try withPostgresServer { server in
            let error = #expect(throws: PrivateServerError.self) {
                try PostgresServer(server.settings)
            }
            guard case .alreadyRunning = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            let answer = try text(connect(server.url), "SELECT 'well'")
            #expect(answer == "well")
        }
    }

    @Test func `with a password, only who knows it comes in`() throws {
        try withPostgresServer { settings in
            settings.authentication = .password
        } _: { server in
            #expect(try text(connect(server.url), "SELECT 'in'") == "in")
            let stranger = "postgresql://qoe:wrong@127.0.0.1:\(server.port)/telemetry"
            let error = #expect(throws: PostgresError.self) { try connect(stranger) }
            #expect(error?.code == .connectFailed)
            var status = stat()
            #expect(stat(server.settings.passwordFile, &status) == 0)
            #expect(status.st_mode & 0o777 == 0o600)
            try server.restart()
            #expect(try text(connect(server.url), "SELECT 'in'") == "in")
        }
    }

    @Test func `a frozen server is stopped all the same`() throws {
        try withPostgresServer { server in
            server.pause()
            try server.stop()
            #expect(!server.isRunning)
        }
    }

    @Test func `settings that cannot work are refused by name`() {
        for change in [
            { $0.port = 70_000 }, { $0.dataFolder = "relative" }, { $0.database = "a'b" },
            { $0.role = "" },
        ] as [(inout PostgresServer.Settings) -> Void] {
            var settings = PostgresServer.Settings(dataFolder: "/nowhere")
            change(&settings)
            #expect(throws: PrivateServerError.self) { try PostgresServer(settings) }
        }
    }

    @Test func `a missing program is named with its package`() throws {
        try withTemporaryFolder { folder in
            let error = #expect(throws: PrivateServerError.self) {
                try InstalledProgram.find(
                    "postgres-of-nowhere", debianPackage: "postgresql", alsoIn: [folder])
            }
            #expect(error?.description.contains("apt install postgresql") == true)
        }
    }

    @Test(.enabled(if: Account.isRoot))
    func `a folder that the server's account cannot pass is named`() throws {
        try withTemporaryFolder { folder in
            let closed = "\(folder)/closed"
            #expect(mkdir(closed, 0o700) == 0)
            let error = #expect(throws: PrivateServerError.self) {
                try PostgresServer(PostgresServer.Settings(dataFolder: "\(closed)/pg"))
            }
            #expect(error?.description.contains(closed) == true)
        }
    }
}

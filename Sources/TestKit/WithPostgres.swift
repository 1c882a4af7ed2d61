internal import Glibc
internal import Postgres
package import PrivateServers
internal import Synchronization

/// A PostgreSQL shared by all tests of this process: starting one takes seconds, making a database
/// in it milliseconds.
private enum SharedPostgres {
    private static let state = Mutex<State>(.init())

    private struct State {
        var server: PostgresServer?
        var folder: String?
        var databases = 0
    }

    static func server() throws -> PostgresServer {
        try state.withLock { state in
            if let server = state.server { return server }
            let folder = try makeTemporaryFolder()
            var settings = PostgresServer.Settings(dataFolder: folder)
            settings.isDurable = false
            // Every database holds some 40 partitions, and dropping one locks them all.
            settings.parameters = ["max_locks_per_transaction": "256"]
            let server = try PostgresServer(settings)
            state.server = server
            state.folder = folder
            atexit { SharedPostgres.stop() }
            return server
        }
    }

    /// A name that no other test has.
    static func nextDatabase() -> String {
        state.withLock { state in
            state.databases += 1
            return "test_\(state.databases)"
        }
    }

    private static func stop() {
        state.withLock { state in
            guard let server = state.server, let folder = state.folder else { return }
            try? server.kill()
            removeFolder(folder)
            state.server = nil
        }
    }
}

/// Runs `body` with the URL of a new database, which is dropped afterwards.
///
/// The server is shared by all tests of the process: a test that stops, kills or freezes it uses
/// ``withPostgresServer(configure:_:)``.
///
/// - Parameter template: What the database is a copy of; empty by default.
@discardableResult
package func withPostgres<Result>(
    template: PostgresTemplate? = nil, _ body: (String) throws -> Result
) throws -> Result {
    let server = try SharedPostgres.server()
    let source = try template?.database(of: server)
    let database = SharedPostgres.nextDatabase()
    try create(database, on: server, from: source)
    defer { try? administer(server, "DROP DATABASE \(database) WITH (FORCE)") }
    return try body(server.url(database: database))
}

/// A database that is prepared once and copied for each test, such as one with a schema.
package final class PostgresTemplate: Sendable {
    private let prepare: @Sendable (String) throws -> Void
    private let made = Mutex<String?>(nil)

    /// - Parameter prepare: Fills the database with the given URL and leaves no connection to it.
    package init(_ prepare: @escaping @Sendable (String) throws -> Void) {
        self.prepare = prepare
    }

    fileprivate func database(of server: PostgresServer) throws -> String {
        try made.withLock { made in
            if let made { return made }
            let database = SharedPostgres.nextDatabase()
            try create(database, on: server, from: nil)
            try prepare(server.url(database: database))
            made = database
            return database
        }
    }
}

private func create(_ database: String, on server: PostgresServer, from source: String?) throws {
    try administer(
        server,
        "CREATE DATABASE \(database) OWNER \(server.settings.role) "
            + "TEMPLATE \(source ?? "template1") STRATEGY FILE_COPY")
}

/// Runs `body` with a PostgreSQL of its own in a temporary folder; both are gone afterwards.
///
/// - Parameter configure: Changes the settings before the start.
@discardableResult
package func withPostgresServer<Result>(
    configure: (inout PostgresServer.Settings) -> Void = { _ in },
    _ body: (PostgresServer) throws -> Result
) throws -> Result {
    try withTemporaryFolder { folder in
        var settings = PostgresServer.Settings(dataFolder: "\(folder)/postgres")
        settings.isDurable = false
        configure(&settings)
        let server = try PostgresServer(settings)
        defer { try? server.kill() }
        return try body(server)
    }
}

private func administer(_ server: PostgresServer, _ sql: String) throws {
    let address = try PostgresConnectionString(server.superuserURL())
    try PostgresConnection(to: address).execute(sql)
}

internal import Glibc
internal import Postgres
internal import Synchronization

/// A private PostgreSQL on a folder of its own, listening on 127.0.0.1 and a socket in the folder.
///
/// It survives restarts of itself: the port and the data stay. All calls block and belong on a
/// thread that may wait. A server that is dropped while it runs is killed. When this process is
/// root, the server runs as `postgres`, or as `nobody` where there is no such account.
package final class PostgresServer: Sendable {
    package let settings: Settings
    /// The TCP port on 127.0.0.1.
    package let port: Int
    private let data: PostgresServerData
    private let executable: String
    private let password: String?
    private let process: Mutex<PrivateProcess>

    /// Makes the data if there is none, starts the server, waits until it accepts clients, and
    /// makes the role and the database if they are missing.
    ///
    /// - Throws: ``PrivateServerError`` naming the Debian package when PostgreSQL is missing, or
    ///   the log file when it does not come up.
    package init(_ settings: Settings) throws(PrivateServerError) {
        try settings.check()
        let data = try PostgresServerData(settings)
        let executable = try data.program("postgres")
        try data.prepare()
        let password = try data.password()

        var attempt = 1
        while true {
            let port = settings.port == 0 ? try freeLoopbackPort() : settings.port
            do throws(PrivateServerError) {
                let process = try Self.launch(data, executable, port: port, password)
                if settings.primaryURL == nil {
                    try Self.makeDatabase(settings, port: port, password)
                }
                self.settings = settings
                self.data = data
                self.executable = executable
                self.password = password
                self.port = port
                self.process = Mutex(process)
                return
            } catch {
                // Somebody else may have taken the free port before the server did.
                guard case .ended = error, settings.port == 0, attempt < portAttempts else {
                    throw error
                }
                attempt += 1
            }
        }
    }

    /// The URL of ``Settings/database`` for ``Settings/role``; holds the password, if there is one.
    package var url: String { url(database: settings.database) }

    /// The URL of a database for ``Settings/role``.
    package func url(database: String) -> String {
        Self.url(user: settings.role, password, port: port, database: database)
    }

    /// The URL of a database for the superuser `postgres`.
    package func superuserURL(database: String = "postgres") -> String {
        Self.url(user: "postgres", password, port: port, database: database)
    }

    /// The folder of the Unix socket, which libpq takes as a host; nil when its path is too long.
    package var socketFolder: String? { settings.socketFolder }

    /// Where the server writes its log.
    package var logFile: String { settings.logFile }

    package var isRunning: Bool { current.exit == nil }

    /// The process id of the postmaster.
    package var processIdentifier: Int32 { current.processIdentifier }

    /// How the server ended, or `nil` while it runs.
    package var exit: PrivateProcess.Exit? { current.exit }

    /// Stops the server and ends its sessions (SIGINT, "fast"); when it has not ended within
    /// `limit`, at once (SIGQUIT), and at last by SIGKILL.
    package func stop(within limit: Duration = .seconds(10)) throws(PrivateServerError) {
        let process = current
        process.signal(SIGINT)
        process.resume()
        if process.waitForExit(within: limit) != nil { return }
        process.signal(SIGQUIT)
        let quitLimit = Duration.seconds(5)
        if process.waitForExit(within: quitLimit) != nil { return }
        try kill()
    }

    /// Kills the server (SIGKILL), as a crash would, and waits until its last process is gone.
    package func kill() throws(PrivateServerError) {
        try current.kill()
        try data.awaitRelease()
    }

    /// Starts the server again on the same port and data; stops it first if it runs.
    package func restart() throws(PrivateServerError) {
        try stop()
        let started = try Self.launch(data, executable, port: port, password)
        process.withLock { $0 = started }
    }

    /// Freezes the postmaster (SIGSTOP): connections are accepted by the kernel and nobody
    /// answers. Sessions that are open go on.
    package func pause() {
        current.pause()
    }

    /// Lets a frozen postmaster go on (SIGCONT).
    package func resume() {
        current.resume()
    }

    private var current: PrivateProcess { process.withLock { $0 } }
}

/// How many free ports are tried when others take them first.
private let portAttempts = 3

/// How often a starting server is asked whether it is there.
private let readyPollMicroseconds: UInt32 = 20_000

extension PostgresServer {
    private static func url(
        user: String, _ password: String?, port: Int, database: String
    ) -> String {
        let secret = password.map { ":\($0)" } ?? ""
        return "postgresql://\(user)\(secret)@127.0.0.1:\(port)/\(database)"
    }

    private static func launch(
        _ data: PostgresServerData, _ executable: String, port: Int, _ password: String?
    ) throws(PrivateServerError) -> PrivateProcess {
        let settings = data.settings
        try data.awaitRelease()
        var launch = PrivateProcess.Launch(
            name: "postgres", executable: executable, arguments: settings.arguments(port: port),
            logFile: settings.logFile, pidFile: settings.pidFile)
        launch.account = data.account
        launch.stopSignal = .interrupt
        launch.deathSignal = .interrupt
        let process = try PrivateProcess(launch)

        let url = url(user: "postgres", password, port: port, database: "postgres")
        let deadline = ContinuousClock.now + settings.readyLimit
        var lastError: PostgresError?
        while ContinuousClock.now < deadline {
            if let exit = process.exit {
                throw .ended(
                    name: "postgres", exit: exit, log: settings.logFile,
                    lastWords: lastLines(of: settings.logFile))
            }
            do throws(PostgresError) {
                let connection = try PostgresConnection(to: PostgresConnectionString(url))
                // The port may be another server's; the data folder tells.
                let folder = try connection.query("SELECT current_setting('data_directory')")
                if var row = folder.first,
                    isSameFile(try row.next(String.self), settings.clusterFolder)
                {
                    return process
                }
            } catch {
                lastError = error
            }
            usleep(readyPollMicroseconds)
        }
        try process.stop()
        throw .notReady(
            name: "postgres (\(lastError?.description ?? "no answer"))", after: settings.readyLimit,
            log: settings.logFile)
    }

    /// Makes the role and the database of our programs if they are missing.
    private static func makeDatabase(
        _ settings: Settings, port: Int, _ password: String?
    ) throws(PrivateServerError) {
        let url = url(user: "postgres", password, port: port, database: "postgres")
        do throws(PostgresError) {
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            if try connection.query(
                "SELECT 1 FROM pg_roles WHERE rolname = '\(settings.role)'"
            ).rowCount == 0 {
                // Names and password are letters and digits, as checked and made above.
                let secret = password.map { " PASSWORD '\($0)'" } ?? ""
                try connection.execute("CREATE ROLE \(settings.role) LOGIN CREATEDB\(secret)")
            }
            // The schema's roles are made by its migration; older data was made before that.
            try connection.execute("ALTER ROLE \(settings.role) CREATEROLE")
            if try connection.query(
                "SELECT 1 FROM pg_database WHERE datname = '\(settings.database)'"
            ).rowCount == 0 {
                try connection.execute(
                    "CREATE DATABASE \(settings.database) OWNER \(settings.role)")
            }
        } catch {
            throw .notReady(
                name: "postgres (\(error))", after: settings.readyLimit, log: settings.logFile)
        }
    }
}

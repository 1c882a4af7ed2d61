internal import Glibc
internal import IngestCore
internal import Postgres
internal import PrivateServers
internal import Store
internal import TargetServing

/// The whole platform on one machine: private servers, all programs, a target with settable faults, and probes.
///
/// All calls block; they belong on a thread that may wait. What it starts it also stops, and nothing else.
package final class LocalStack {
    /// How a local stack is set up.
    package struct Settings: Sendable {
        package var folder = StackFolder.standard
        /// Where `ingest`, `aggregator`, `diagnoser` and `probe` lie.
        package var programFolder: String
        /// Measured by every probe beside the local target.
        package var targets: [String] = []
        /// How often a probe measures each target, seconds.
        package var intervalSeconds = 5

        package init(programFolder: String) {
            self.programFolder = programFolder
        }
    }

    /// The names of the probes.
    package static let clients = ["probe-1", "probe-2", "probe-3"]
    /// How long a program may take to listen: it waits for servers that have just started.
    private static let listenLimit = Duration.seconds(30)

    /// The target server's ports, if they are free: a target keeps its name over restarts.
    private static let httpPort = 8880
    private static let httpsPort = 8843

    private let settings: Settings
    private let folder: StackFolder
    private let progress: (String) -> Void
    private let programs: StackPrograms
    private let lock: FolderLock
    private var postgres: PostgresServer?
    private var nats: NATSServer?
    private var target: TargetServer?
    private var startedAt = PostgresTimestamp.distantPast

    /// What a user needs to talk to the stack.
    package struct Addresses: Sendable {
        /// `host:port` of the HTTP API.
        package let api: String
        package let nats: String
        package let postgresPort: Int
        package let http: String
        package let https: String
        /// The bearer token that the printed `curl` command uses.
        package let token: String
    }

    /// - Parameter progress: Called with a line for people for each step.
    /// - Throws: ``LocalStackError`` when the folder is in use or a program is missing.
    package init(
        _ settings: Settings, progress: @escaping (String) -> Void
    ) throws(LocalStackError) {
        self.settings = settings
        self.progress = progress
        folder = settings.folder
        programs = try StackPrograms(folder: folder, programFolder: settings.programFolder)
        lock = try folder.claim()
    }

    /// Starts everything. When it throws, ``stop()`` still stops what had been started.
    package func start() throws(LocalStackError) -> Addresses {
        startedAt = PostgresTimestamp(milliseconds: unixMilliseconds())
        progress("data folder  \(folder.path)")
        let postgres = try startPostgres()
        try migrate()
        let nats = try startNATS()
        let token = try prepareToken()
        try startServices(postgres: postgres, nats: nats)
        let api = try programs.address(of: "api", in: "ingest", within: Self.listenLimit)
        progress("ingest       http://\(api)")
        let target = try startTarget()
        try startProbes(api: api, target: target)
        progress("probes       \(Self.clients.joined(separator: ", "))")
        return Addresses(
            api: api, nats: nats.url, postgresPort: postgres.port, http: target.httpURL,
            https: target.httpsURL, token: token)
    }

    // MARK: Starting

    private func startPostgres() throws(LocalStackError) -> PostgresServer {
        var server = PostgresServer.Settings(dataFolder: folder.postgres)
        server.authentication = .password
        server.port = usualPort(5432)
        let postgres = try onUsualPort(server.port) { port throws(PrivateServerError) in
            server.port = port
            return try PostgresServer(server)
        }
        self.postgres = postgres
        let password = StackFolder.contents(of: server.passwordFile) ?? ""
        try folder.writeSecret(
            """
            [\(StackFolder.serviceName)]
            host=127.0.0.1
            port=\(postgres.port)
            user=\(server.role)
            password=\(password)
            dbname=\(server.database)

            """, to: folder.serviceFile)
        progress("PostgreSQL   127.0.0.1:\(postgres.port)")
        return postgres
    }

    private func migrate() throws(LocalStackError) {
        let applied = try withConnection { connection throws(LocalStackError) in
            try explained { () throws(SchemaError) in try Schema().migrate(connection) }
        }
        if !applied.isEmpty { progress("schema       \(applied.count) migrations applied") }
    }

    private func startNATS() throws(LocalStackError) -> NATSServer {
        var server = NATSServer.Settings(dataFolder: folder.nats)
        server.port = usualPort(4222)
        let nats = try onUsualPort(server.port) { port throws(PrivateServerError) in
            server.port = port
            return try NATSServer(server)
        }
        self.nats = nats
        progress("NATS         \(nats.url)")
        return nats
    }

    /// The token of the local probes and of the user, made at the first start.
    private func prepareToken() throws(LocalStackError) -> String {
        if let token = StackFolder.contents(of: folder.tokenFile), !token.isEmpty { return token }
        let token = try explained { () throws(TokenFileError) in
            try TokenFile.create(name: "local", clients: ["*"], in: folder.tokensFile)
        }
        try folder.writeSecret(token + "\n", to: folder.tokenFile)
        return token
    }

    private func startServices(
        postgres: PostgresServer, nats: NATSServer
    ) throws(LocalStackError) {
        // By environment: a password on the command line could be read by every user.
        let environment = ["QOE_NATS_URL": nats.url, "QOE_POSTGRES_URL": postgres.url]
        try programs.start(
            "ingest", name: "ingest",
            arguments: [
                "--listen", "127.0.0.1:\(usualPort(8080))",
                "--metrics-listen", "127.0.0.1:\(usualPort(9090))",
                "--tokens-file", folder.tokensFile,
            ], environment: environment)
        try programs.start(
            "aggregator", name: "aggregator",
            arguments: [
                "--metrics-listen", "127.0.0.1:\(usualPort(9091))",
                // Three probes are little work, and somebody is looking.
                "--rollup-interval", "10s",
            ],
            environment: environment)
        try programs.start(
            "diagnoser", name: "diagnoser",
            arguments: ["--metrics-listen", "127.0.0.1:\(usualPort(9092))"],
            environment: environment)
    }

    private func startTarget() throws(LocalStackError) -> TargetServer {
        mkdir(folder.targets, 0o755)
        let target: TargetServer
        do {
            target = try TargetServer(
                folder: folder.targets, httpPort: UInt16(clamping: usualPort(Self.httpPort)),
                httpsPort: UInt16(clamping: usualPort(Self.httpsPort)))
        } catch {
            throw LocalStackError("cannot start the target server: \(error)")
        }
        self.target = target
        progress("target       \(target.httpURL) and \(target.httpsURL)")
        return target
    }

    private func startProbes(api: String, target: TargetServer) throws(LocalStackError) {
        let local = [
            "\(target.httpURL)/fast", "\(target.httpsURL)/fast",
            "\(target.httpURL)/slow?ms=300", "\(target.httpURL)/fail",
            "\(target.httpURL)/bytes/5000000",
        ]
        for client in Self.clients {
            try programs.start(
                "probe", name: client,
                arguments: [
                    "--client-id", client, "--ingest-url", "http://\(api)",
                    "--token-file", folder.tokenFile, "--state-dir", folder.state(of: client),
                    "--ca-file", target.authorityFile, "--no-first-hop", "--interval",
                    "\(settings.intervalSeconds)s",
                    "--network-type", "loopback", "--region", "local",
                ] + (local + settings.targets).flatMap { ["--target", $0] },
                environment: [:])
        }
    }

    /// `port` if nobody has it, else 0 for any free one.
    private func usualPort(_ port: Int) -> Int {
        isLoopbackPortFree(port) ? port : 0
    }

    /// Starts a server on `port`, or on any free one when somebody else was quicker.
    private func onUsualPort<Server>(
        _ port: Int, _ start: (Int) throws(PrivateServerError) -> Server
    ) throws(LocalStackError) -> Server {
        try explained { () throws(PrivateServerError) in
            do throws(PrivateServerError) {
                return try start(port)
            } catch {
                guard case .ended = error, port != 0, !isLoopbackPortFree(port) else { throw error }
                return try start(0)
            }
        }
    }

    // MARK: Running

    /// The URL of the database, its password included; nil while PostgreSQL does not run.
    package var databaseURL: String? { postgres?.url }

    /// - Throws: ``LocalStackError`` when something has ended by itself, with its last words.
    package func checkRunning() throws(LocalStackError) {
        try programs.checkRunning()
        if let postgres, let exit = postgres.exit {
            throw LocalStackError("PostgreSQL \(exit); its log is \(postgres.logFile)")
        }
        if let nats, let exit = nats.exit {
            throw LocalStackError("nats-server \(exit); its log is \(nats.logFile)")
        }
    }

    /// The last minutes as lines of a table.
    package func minutes() throws(LocalStackError) -> [String] {
        try withConnection { connection throws(PostgresError) in
            try MinuteTable.lines(from: connection)
        }
    }

    /// Stops the probes, and waits until all they measured is in SQL.
    ///
    /// - Returns: What is still missing after `limit`; empty when nothing is.
    package func drain(within limit: Duration) throws(LocalStackError) -> [String] {
        try programs.stop("probe")
        let deadline = ContinuousClock.now + limit
        while true {
            let check = try withConnection { connection throws(PostgresError) in
                try ArrivalCheck(clients: Self.clients, since: startedAt, on: connection)
            }
            if check.missing.isEmpty || ContinuousClock.now >= deadline { return check.missing }
            usleep(200_000)
        }
    }

    private func withConnection<Value, Failure: Error>(
        _ body: (PostgresConnection) throws(Failure) -> Value
    ) throws(LocalStackError) -> Value {
        guard let postgres else { throw LocalStackError("PostgreSQL is not running") }
        let connection = try explained { () throws(PostgresError) in
            try PostgresConnection(to: PostgresConnectionString(postgres.url))
        }
        defer { connection.close() }
        return try explained { () throws(Failure) in try body(connection) }
    }

    // MARK: Stopping

    /// Stops everything that was started, in the order in which events flow, so that nothing is left under way.
    package func stop() {
        do throws(LocalStackError) {
            for program in ["probe", "ingest", "aggregator", "diagnoser"] {
                try programs.stop(program)
            }
        } catch {
            progress("\(error)")
        }
        target?.stop()
        do throws(PrivateServerError) {
            try nats?.stop()
            try postgres?.stop()
        } catch {
            progress("\(error)")
        }
        target = nil
        nats = nil
        postgres = nil
    }
}

/// Runs `body`, turning whatever it throws into a ``LocalStackError`` with the same words.
private func explained<Value, Failure: Error>(
    _ body: () throws(Failure) -> Value
) throws(LocalStackError) -> Value {
    do throws(Failure) {
        return try body()
    } catch {
        throw LocalStackError("\(error)")
    }
}

private func unixMilliseconds() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
}

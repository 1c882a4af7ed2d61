internal import Glibc
internal import OwnedThreads
internal import Synchronization

/// A private nats-server with JetStream on a folder of its own, listening on 127.0.0.1 only.
///
/// It survives restarts of itself: the port and the data stay. All calls block and belong on a
/// thread that may wait. A server that is dropped while it runs is killed.
package final class NATSServer: Sendable {
    /// How a private server is set up.
    package struct Settings: Sendable {
        /// Receives configuration, store, log and pid file; made when missing.
        package var dataFolder: String
        /// TCP port for clients; 0 takes a free one and keeps it over restarts.
        package var port = 0
        /// TCP port of the monitoring endpoint; `nil` leaves it off.
        package var monitoringPort: Int?
        /// The most JetStream may store, in bytes, and what streams reserve from.
        ///
        /// Always explicit: without it nats-server takes a share of what the disk has free at its
        /// start, so a restart on a fuller disk would refuse messages that fitted before.
        package var maxFileStoreBytes: Int64 = 16 << 30
        /// The largest message, in bytes. nats-server's own default is 1 MiB.
        package var maxPayloadBytes = 1 << 20
        /// More lines of its configuration file, such as who may log in.
        package var moreConfiguration = ""
        /// How long the server may take to accept clients; a large store is read at the start.
        package var readyLimit: Duration = .seconds(30)
        /// Path of the program; `nil` searches `PATH` and the usual folders.
        package var executable: String?

        package init(dataFolder: String) {
            self.dataFolder = dataFolder
        }
    }

    package let settings: Settings
    /// The port clients connect to.
    package let port: Int
    private let executable: String
    private let process: Mutex<PrivateProcess>

    /// Starts a server and waits until it accepts clients.
    ///
    /// - Throws: ``PrivateServerError`` naming the Debian package when nats-server is missing,
    ///   or the log file when it does not come up.
    package init(_ settings: Settings) throws(PrivateServerError) {
        try settings.check()
        let executable: String
        if let path = settings.executable {
            executable = path
        } else {
            executable = try InstalledProgram.find("nats-server", debianPackage: "nats-server")
        }
        try makeFolder(settings.dataFolder)

        var attempt = 1
        while true {
            let port = settings.port == 0 ? try freeLoopbackPort() : settings.port
            do throws(PrivateServerError) {
                let process = try Self.launch(settings, executable: executable, port: port)
                self.settings = settings
                self.executable = executable
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

    /// The URL that clients connect to.
    package var url: String { "nats://127.0.0.1:\(port)" }

    /// Where the server writes its log.
    package var logFile: String { settings.logFile }

    package var isRunning: Bool { current.exit == nil }

    package var processIdentifier: Int32 { current.processIdentifier }

    /// How the server ended, or `nil` while it runs.
    package var exit: PrivateProcess.Exit? { current.exit }

    /// Asks the server to end in order (SIGTERM); kills it when it has not within `limit`.
    package func stop(within limit: Duration = .seconds(10)) throws(PrivateServerError) {
        try current.stop(within: limit)
    }

    /// Kills the server (SIGKILL), as a crash would, and waits until it is gone.
    package func kill() throws(PrivateServerError) {
        try current.kill()
    }

    /// Starts the server again on the same port and data; stops it first if it runs.
    package func restart() throws(PrivateServerError) {
        try stop()
        let started = try Self.launch(settings, executable: executable, port: port)
        process.withLock { $0 = started }
    }

    /// Freezes the server (SIGSTOP): connections stay open and nobody answers.
    package func pause() {
        current.pause()
    }

    /// Lets a frozen server go on (SIGCONT).
    package func resume() {
        current.resume()
    }

    private var current: PrivateProcess { process.withLock { $0 } }
}

/// How many free ports are tried when others take them first.
private let portAttempts = 3

/// How often a starting server is asked whether it is there.
private let readyPollMicroseconds: UInt32 = 10_000

extension NATSServer {
    private static func launch(
        _ settings: Settings, executable: String, port: Int
    ) throws(PrivateServerError) -> PrivateProcess {
        // The name tells this server from a stranger on the same port.
        let name = "private-\(getpid())-\(UInt64.random(in: .min ... .max))"
        try write(settings.configuration(name: name, port: port), to: settings.configurationFile)
        let process = try PrivateProcess(
            PrivateProcess.Launch(
                name: "nats-server", executable: executable,
                arguments: ["--config", settings.configurationFile],
                logFile: settings.logFile, pidFile: "\(settings.dataFolder)/nats-server.pid"))

        let deadline = ContinuousClock.now + settings.readyLimit
        while ContinuousClock.now < deadline {
            if let exit = process.exit {
                throw .ended(
                    name: "nats-server", exit: exit, log: settings.logFile,
                    lastWords: lastLines(of: settings.logFile))
            }
            // The first thing a NATS server sends is INFO and a JSON object with its name.
            if let greeting = firstBytes(fromPort: port), greeting.contains("\"\(name)\"") {
                return process
            }
            usleep(readyPollMicroseconds)
        }
        try process.stop()
        throw .notReady(name: "nats-server", after: settings.readyLimit, log: settings.logFile)
    }
}

extension NATSServer.Settings {
    var configurationFile: String { "\(dataFolder)/nats-server.conf" }
    var logFile: String { "\(dataFolder)/nats-server.log" }

    func check() throws(PrivateServerError) {
        let ports = 0...Int(UInt16.max)
        guard ports.contains(port) else {
            throw .invalidSetting(name: "NATS port", reason: "\(port) is not in 0...65535")
        }
        guard monitoringPort.map(ports.contains) ?? true else {
            throw .invalidSetting(
                name: "NATS monitoring port", reason: "\(monitoringPort ?? 0) is not in 0...65535")
        }
        // nats-server refuses more than 64 MiB and the protocol counts it in 32 bits.
        guard (1024...(64 << 20)).contains(maxPayloadBytes) else {
            throw .invalidSetting(
                name: "NATS max payload", reason: "\(maxPayloadBytes) is not in 1 KiB...64 MiB")
        }
        guard maxFileStoreBytes > 0 else {
            throw .invalidSetting(
                name: "NATS max file store", reason: "\(maxFileStoreBytes) is not positive")
        }
    }

    /// The server's configuration file (nats.io documentation, "Configuration").
    func configuration(name: String, port: Int) -> String {
        """
        # Written at every start; changes are lost.
        server_name: "\(name)"
        listen: "127.0.0.1:\(port)"
        max_payload: \(maxPayloadBytes)
        \(monitoringPort.map { "http: \"127.0.0.1:\($0)\"" } ?? "# no monitoring port")
        jetstream {
            store_dir: \(quoted("\(dataFolder)/jetstream"))
            max_file_store: \(maxFileStoreBytes)
            max_memory_store: \(maxMemoryStoreBytes)
        }
        \(moreConfiguration)

        """
    }

    /// For the consumers' own state; no stream of ours lives in memory.
    private var maxMemoryStoreBytes: Int { 64 << 20 }

    private func quoted(_ text: String) -> String {
        var result = "\""
        for character in text {
            if character == "\"" || character == "\\" {
                result.append("\\")
            }
            result.append(character)
        }
        return result + "\""
    }
}

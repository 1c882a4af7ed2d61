import Foundation
import IngestCore
import NATSClient
import Postgres
import PrivateServers
import Store
import Synchronization
import TestKit
import Testing

/// A whole pipeline of this build's executables on private servers.
final class Pipeline: Sendable {
    let folder: String
    let token: String
    let nats: NATSServer
    let postgres: PostgresServer
    private let running = Mutex<[Faults.Victim: PrivateProcess]>([:])
    private let port = Mutex(0)

    init(folder: String) throws {
        self.folder = folder
        nats = try NATSServer(.init(dataFolder: "\(folder)/nats"))
        var settings = PostgresServer.Settings(dataFolder: "\(folder)/postgres")
        settings.isDurable = false
        postgres = try PostgresServer(settings)
        let connection = try PostgresConnection(to: PostgresConnectionString(postgres.url))
        _ = try Schema().migrate(connection)
        connection.close()
        token = try TokenFile.create(name: "test", clients: ["*"], in: "\(folder)/tokens")
        for victim in [Faults.Victim.ingest, .firstAggregator, .secondAggregator] {
            try restart(victim)
        }
    }

    /// Where `ingest` listens, or listened last.
    var apiPort: Int { port.withLock { $0 } }

    func kill(_ victim: Faults.Victim) throws {
        switch victim {
        case .nats: try nats.kill()
        case .postgres: try postgres.kill()
        default: try process(victim)?.kill()
        }
    }

    func restart(_ victim: Faults.Victim) throws {
        switch victim {
        case .nats: try nats.restart()
        case .postgres: try postgres.restart()
        case .ingest:
            try start(
                .ingest, "ingest",
                ["--tokens-file", "\(folder)/tokens", "--listen", "127.0.0.1:0"])
            try readPort()
        case .firstAggregator, .secondAggregator:
            try start(
                victim, "aggregator",
                [
                    "--postgres-url", postgres.url, "--lease", "3s", "--flush-interval", "100ms",
                    "--instance-id", "\(victim)",
                ])
        }
    }

    /// Freezes one of the aggregators.
    func freezeAggregator(isFirst: Bool) -> PrivateProcess {
        let victim = isFirst ? Faults.Victim.firstAggregator : .secondAggregator
        guard let process = process(victim) else { preconditionFailure("started by init") }
        process.pause()
        return process
    }

    /// Kills what still runs.
    func stop() {
        for process in running.withLock({ $0.values.map { $0 } }) { try? process.kill() }
        try? nats.kill()
        try? postgres.kill()
    }

    private func process(_ victim: Faults.Victim) -> PrivateProcess? {
        running.withLock { $0[victim] }
    }

    private var portFile: String { "\(folder)/ingest.ports" }

    private func start(_ victim: Faults.Victim, _ program: String, _ arguments: [String]) throws {
        try? FileManager.default.removeItem(atPath: portFile)
        var arguments = arguments
        if victim == .ingest { arguments += ["--port-file", portFile] }
        let launch = PrivateProcess.Launch(
            name: "\(victim)", executable: "\(programFolder)/\(program)",
            arguments: arguments + [
                "--nats-url", nats.url, "--metrics-listen", "127.0.0.1:0", "--log-format", "text",
            ],
            logFile: "\(folder)/\(victim).log", pidFile: "\(folder)/\(victim).pid")
        let process = try PrivateProcess(launch)
        running.withLock { $0[victim] = process }
    }

    private func readPort() throws {
        let found = eventually {
            let text = (try? String(contentsOfFile: portFile, encoding: .utf8)) ?? ""
            for line in text.split(separator: "\n") where line.hasPrefix("api=") {
                guard let number = line.split(separator: ":").last.flatMap({ Int($0) }) else {
                    continue
                }
                port.withLock { $0 = number }
                return true
            }
            return false
        }
        #expect(found, "ingest does not listen")
    }
}

extension Pipeline {
    /// Whether every partition has been read to its end and written.
    func isCaughtUp() -> Bool {
        (try? hasCommittedAll()) ?? false
    }

    private func hasCommittedAll() throws -> Bool {
        let connector = NATSConnector(NATSOptions(urls: [nats.url], name: "check"))
        defer { connector.stop() }
        let connection = try connector.waitUntilConnected(within: .seconds(10))
        let stream = JetStream(connection)
        let committed = try table(
            """
            SELECT partition::text, committed_seq::text FROM partition_progress
            WHERE stream = 'TELEMETRY_EVENTS'
            """)
        let subjects = try stream.stream(named: "TELEMETRY_EVENTS").configuration.subjects
        for (partition, subject) in subjects.enumerated() {
            let newest: UInt64
            do throws(NATSError) {
                newest = try stream.lastMessage(inStream: "TELEMETRY_EVENTS", subject: subject)
                    .sequence
            } catch {
                guard JetStreamErrorCode.messageNotFound ~= error else { throw error }
                continue
            }
            guard let done = committed["\(partition)"].flatMap({ UInt64($0) }), done >= newest
            else { return false }
        }
        return true
    }

    /// A query's two columns of text.
    func table(_ sql: String) throws -> [String: String] {
        let connection = try PostgresConnection(to: PostgresConnectionString(postgres.url))
        defer { connection.close() }
        var table: [String: String] = [:]
        for var row in try connection.query(sql).rows {
            let key: String = try row.next()
            table[key] = try row.next()
        }
        return table
    }
}

/// Where this build's executables lie: beside the test bundle.
private var programFolder: String {
    let bundle = CommandLine.arguments.first { $0.contains(".xctest") }
    let folder = bundle.map { URL(fileURLWithPath: $0.components(separatedBy: ".xctest")[0]) }
    let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    return folder?.deletingLastPathComponent().path ?? root.appending(path: ".build/debug").path
}

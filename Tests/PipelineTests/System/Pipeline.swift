import Bus
import Foundation
import Glibc
import IngestCore
import NATSClient
import PrivateServers
import Synchronization
import TestKit
import Testing

/// A whole pipeline of this build's executables on private servers, with links between them that can fail.
final class Pipeline: Sendable {
    /// One of the platform's programs.
    enum Program: Hashable, Sendable, CustomStringConvertible {
        case ingest
        /// From 0.
        case aggregator(Int)

        var description: String {
            switch self {
            case .ingest: "ingest"
            case .aggregator(let index): "aggregator-\(index)"
            }
        }
    }

    struct Settings: Sendable {
        var aggregatorCount = 2
        var hasReplica = true
        /// Puts the servers' data on volumes that can be filled.
        var isSmall = false
        var aggregatorArguments: [String] = []
    }

    let folder: String
    let token: String
    let nats: NATSServer
    let natsVolume: Volume?
    let postgres: PostgresPair
    let ingestToNATS: TCPProxy
    let aggregatorsToNATS: TCPProxy
    /// Of the test itself, past all links.
    let connector: NATSConnector
    private let settings: Settings
    private let running = Mutex<[Program: PrivateProcess]>([:])
    private let port = Mutex(0)

    init(folder: String, _ settings: Settings = Settings()) throws {
        self.folder = folder
        self.settings = settings
        natsVolume =
            settings.isSmall ? Volume(path: "\(folder)/nats", mebibytes: 256) : nil
        nats = try NATSServer(.init(dataFolder: "\(folder)/nats"))
        connector = NATSConnector(NATSOptions(urls: [nats.url], name: "test"))
        postgres = try PostgresPair(
            folder: folder, hasReplica: settings.hasReplica, isSmall: settings.isSmall)
        ingestToNATS = try TCPProxy(to: nats.port)
        aggregatorsToNATS = try TCPProxy(to: nats.port)
        token = try TokenFile.create(name: "test", clients: ["*"], in: "\(folder)/tokens")
        try start(.ingest)
        for index in 0..<settings.aggregatorCount { try start(.aggregator(index)) }
    }

    /// Where `ingest` listens, or listened last.
    var apiPort: Int { port.withLock { $0 } }

    var links: [TCPProxy] { postgres.links + [ingestToNATS, aggregatorsToNATS] }

    /// The programs that were started and not stopped; they may have died by themselves.
    var programs: [Program] { running.withLock { Array($0.keys) } }

    func process(_ program: Program) -> PrivateProcess? { running.withLock { $0[program] } }

    func kill(_ program: Program) throws { try process(program)?.kill() }

    /// Asks a program to end, and forgets it.
    func stop(_ program: Program) throws {
        let process = running.withLock { $0.removeValue(forKey: program) }
        _ = try process?.stop(within: .seconds(20))
    }

    /// Kills a program and forgets it.
    func remove(_ program: Program) throws {
        let process = running.withLock { $0.removeValue(forKey: program) }
        try process?.kill()
    }

    /// Starts a program; stops it first if it runs.
    ///
    /// - Parameter failpoint: Where it is to be killed.
    func start(_ program: Program, failpoint: String = "") throws {
        try process(program)?.kill()
        var arguments: [String]
        let name: String
        switch program {
        case .ingest:
            name = "ingest"
            try? FileManager.default.removeItem(atPath: portFile)
            arguments = [
                "--tokens-file", "\(folder)/tokens", "--listen", "127.0.0.1:0",
                "--port-file", portFile, "--nats-url", "nats://127.0.0.1:\(ingestToNATS.port)",
            ]
        case .aggregator:
            name = "aggregator"
            arguments =
                [
                    "--postgres-url", postgres.url, "--lease", "3s", "--flush-interval", "100ms",
                    "--instance-id", "\(program)", "--rollup-interval", "1s",
                    "--nats-url", "nats://127.0.0.1:\(aggregatorsToNATS.port)",
                ] + settings.aggregatorArguments
        }
        arguments += ["--metrics-listen", "127.0.0.1:0", "--log-format", "text"]
        var launch = PrivateProcess.Launch(
            name: "\(program)", executable: "\(programFolder)/\(name)", arguments: arguments,
            logFile: "\(folder)/\(program).log", pidFile: "\(folder)/\(program).pid")
        launch.environment = ["QOE_FAILPOINT": failpoint]
        let process = try PrivateProcess(launch)
        running.withLock { $0[program] = process }
        if program == .ingest { try readPort(of: process) }
    }

    private var portFile: String { "\(folder)/ingest.ports" }

    private func readPort(of process: PrivateProcess) throws {
        let found = eventually {
            // A program with a point armed may be dead already.
            if process.exit != nil { return true }
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

    /// Where nats-server keeps its streams.
    var streamStore: String { "\(folder)/nats/jetstream" }

    /// Copies what the programs said into another folder.
    func keepLogs(in folder: String) {
        let manager = FileManager.default
        let names = (try? manager.contentsOfDirectory(atPath: self.folder)) ?? []
        for name in names where name.hasSuffix(".log") {
            try? manager.removeItem(atPath: "\(folder)/\(name)")
            try? manager.copyItem(
                atPath: "\(self.folder)/\(name)", toPath: "\(folder)/\(name)")
        }
    }

    /// Kills what still runs.
    func stop() {
        for process in running.withLock({ $0.values.map { $0 } }) { try? process.kill() }
        for link in [ingestToNATS, aggregatorsToNATS] { link.stop() }
        connector.stop()
        try? nats.kill()
        natsVolume?.unmount()
        postgres.stop()
    }
}

extension Pipeline {
    /// Whether every partition has been read to its end and written.
    func isCaughtUp() -> Bool {
        (try? hasCommittedAll()) ?? false
    }

    /// Partition to the last sequence whose effects are in the tables.
    func committed() throws -> [Int: UInt64] {
        let rows = try postgres.table(
            """
            SELECT partition::text, ARRAY[committed_seq::text] FROM partition_progress
            WHERE stream = '\(BusStream.events)'
            """)
        var committed: [Int: UInt64] = [:]
        for (partition, columns) in rows {
            guard let partition = Int(partition) else { continue }
            committed[partition] = columns.first.flatMap { UInt64($0) }
        }
        return committed
    }

    /// Whether counting a message has begun and not ended: a crash blames it.
    func hasBegunMessages() throws -> Bool {
        try !postgres.table(
            """
            SELECT l.stream || l.partition || '|' || l.seq, ARRAY[''] FROM crash_ledger l
            JOIN partition_progress p USING (stream, partition) WHERE l.seq > p.committed_seq
            """
        ).isEmpty
    }

    private func hasCommittedAll() throws -> Bool {
        let connection = try connector.waitUntilConnected(within: .seconds(10))
        let stream = JetStream(connection)
        let committed = try committed()
        let subjects = try stream.stream(named: BusStream.events).configuration.subjects
        for (partition, subject) in subjects.enumerated() {
            let newest: UInt64
            do throws(NATSError) {
                newest = try stream.lastMessage(inStream: BusStream.events, subject: subject)
                    .sequence
            } catch {
                guard JetStreamErrorCode.messageNotFound ~= error else { throw error }
                continue
            }
            // Not below: after a restore the stream may be shorter than what was counted.
            guard let done = committed[partition], done >= newest else { return false }
        }
        return true
    }
}

/// Where the executables lie: in `QOE_PROGRAMS`, or else beside the test bundle, in the same build.
var programFolder: String {
    if let folder = ProcessInfo.processInfo.environment["QOE_PROGRAMS"] { return folder }
    let bundle = CommandLine.arguments.first { $0.contains(".xctest") }
    let folder = bundle.map { URL(fileURLWithPath: $0.components(separatedBy: ".xctest")[0]) }
    let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    return folder?.deletingLastPathComponent().path ?? root.appending(path: ".build/debug").path
}

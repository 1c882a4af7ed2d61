import Foundation
import Glibc
import PrivateServers
import ProbeCore
import TestKit
import Testing
import Transport

/// The program itself: how it ends, and what it does as a user without privileges.
@Suite struct ProbeProcessTests {
    private let folder: OwnFolder
    private let log: String

    init() throws {
        folder = try OwnFolder()
        log = "\(folder.path)/log"
    }

    private func start(
        _ arguments: [String], environment: [String: String] = [:], account: Account? = nil
    ) throws -> PrivateProcess {
        var launch = PrivateProcess.Launch(
            name: "probe", executable: "\(programFolder)/probe", arguments: arguments,
            logFile: log, pidFile: "\(folder.path)/pid")
        launch.environment = environment
        launch.account = account
        return try PrivateProcess(launch)
    }

    /// How the program ends by itself.
    private func exit(_ arguments: [String]) throws -> PrivateProcess.Exit? {
        try start(arguments).waitForExit(within: .seconds(60))
    }

    private var logged: String {
        get throws { try String(contentsOfFile: log, encoding: .utf8) }
    }

    /// Enough for a start; nothing answers there.
    private func settings(_ target: String = "tcp://127.0.0.1:1") -> [String] {
        [
            "--target", target, "--ingest-url", "http://127.0.0.1:1", "--state-dir",
            "\(folder.path)/state",
        ]
    }

    @Test func `a probe that is asked to end has succeeded`() throws {
        let probe = try start(settings())
        #expect(eventually { (try? logged.contains("measuring")) == true })
        #expect(try probe.stop() == .code(0))
    }

    @Test func `a probe that cannot start says why by its exit code`() throws {
        #expect(try exit(["--nonsense"]) == .code(64))
        #expect(try exit(settings("gopher://a/")) == .code(78))
        #expect(try exit(settings() + ["--token-file", "/nowhere"]) == .code(78))
        #expect(try exit(settings() + ["--check-config"]) == .code(0))
        let taken = try Listener(host: "127.0.0.1", port: 0)
        #expect(try exit(settings() + ["--metrics-listen", "\(taken.address)"]) == .code(69))
    }

    @Test func `a measurement tells by its exit code how it went`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        #expect(try exit(["once", "\(target.httpURL)/fast"]) == .code(0))
        #expect(try exit(["once", "\(target.httpURL)/fail"]) == .code(1))
        #expect(try exit(["once"]) == .code(64))
        #expect(
            try exit(["once", "\(target.httpURL)/fast", "--ca-file", "/nowhere"]) == .code(69))
    }

    @Test func `a check tells by its exit code how it went`() throws {
        let ingest = try ScriptedIngest { request, _ in
            switch request.path {
            case "/health": .answer(200)
            case "/api/v1/time": .answer(404)
            default: .accepted
            }
        }
        defer { ingest.stop() }
        let good = [
            "check", "--target", "tcp://127.0.0.1:1", "--ingest-url", ingest.address,
            "--state-dir", "\(folder.path)/state",
        ]
        #expect(try exit(good) == .code(0))
        #expect(try logged.contains("0 failed"))
        #expect(try exit(["check"] + settings()) == .code(1))
        #expect(try exit(["check"] + settings("gopher://a/")) == .code(78))
        #expect(try exit(["check", "--nonsense"]) == .code(64))
        #expect(try exit(["check", "--help"]) == .code(0))
    }

    @Test func `a check that is interrupted ends at once`() throws {
        let silent = try RawServer { connection, patience in try connection.drain(patience) }
        let check = try start([
            "check", "--target", "tcp://127.0.0.1:1", "--ingest-url",
            "http://127.0.0.1:\(silent.port)", "--timeout", "10m", "--state-dir",
            "\(folder.path)/state",
        ])
        #expect(eventually { (try? logged.contains("state folder")) == true })
        #expect(check.signal(SIGINT))
        #expect(check.waitForExit(within: .seconds(60)) == .signal(SIGINT))
    }

    /// Whether the group of the account below may open ping sockets.
    private static let isPingOpen: Bool = {
        let text =
            (try? String(contentsOfFile: "/proc/sys/net/ipv4/ping_group_range", encoding: .utf8))
            ?? ""
        let ends = text.split(whereSeparator: \.isWhitespace).compactMap { UInt32($0) }
        guard ends.count == 2, let group = try? Account(named: "nobody").groupIdentifier else {
            return true
        }
        return ends[0] <= group && group <= ends[1]
    }()

    /// What the probe's metrics say at this moment.
    private func measurementsNotMade(portFile: String) throws -> Int {
        let address = try String(contentsOfFile: portFile, encoding: .utf8)
            .trimmingCharacters(in: .whitespacesAndNewlines).replacing("metrics=", with: "")
        let poster = HTTPPoster(
            dialer: Dialer(resolver: Resolver(), tls: try TLSContext.client()), userAgent: "test")
        let answer = try poster.get(
            try HTTPURL("http://\(address)/metrics"), token: nil, Patience(for: .seconds(20)))
        let text = String(decoding: answer.body, as: UTF8.self)
        let name = #"qoe_probe_measurements_total{outcome="not_made"} "#
        let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
        return try #require(line.flatMap { Int($0.dropFirst(name.count)) }, "\(text)")
    }

    private struct Claims: Decodable {
        let capabilities: [String]
    }

    @Test(
        .enabled(
            if: Account.isRoot && !isPingOpen,
            "must be root, to become nobody, and net.ipv4.ping_group_range be closed"))
    func `without any privilege what may be measured is measured`() throws {
        let target = try LocalTarget()
        let ingest = try ScriptedIngest { _, _ in .accepted }
        defer {
            target.stop()
            ingest.stop()
        }
        let nobody = try Account(named: "nobody")
        let state = "\(folder.path)/state"
        #expect(chmod(folder.path, 0o755) == 0)
        #expect(mkdir(state, 0o700) == 0)
        #expect(chown(state, nobody.userIdentifier, nobody.groupIdentifier) == 0)
        let probe = try start(
            [
                "--target", "\(target.httpURL)/fast,icmp://127.0.0.1 count=1",
                "--ingest-url", ingest.address, "--state-dir", state, "--interval", "100ms",
                "--client-id", "client", "--metrics-listen", "127.0.0.1:0", "--port-file",
                "\(state)/ports", "--max-cpu-percent", "100",
            ], environment: ["HOME": "/"], account: nobody)
        #expect(
            eventually(within: .seconds(60)) { ingest.requests().flatMap(\.events).count >= 20 })
        #expect(try measurementsNotMade(portFile: "\(state)/ports") > 1)
        #expect(try probe.stop() == .code(0))
        #expect(!ingest.requests().flatMap(\.events).contains { $0.target.hasPrefix("icmp") })
        // Many slots, one line.
        let lines = try logged.split(separator: "\n").filter { $0.contains("could not measure") }
        #expect(lines.count == 1)
        #expect(lines.first?.contains("net.ipv4.ping_group_range") == true)
        let body = try #require(ingest.requests(to: "/api/v1/heartbeats").first?.body)
        let claims = try JSONDecoder().decode(Claims.self, from: Data(body)).capabilities
        #expect(!claims.contains("icmp"))
        #expect(claims.contains("https"))
    }
}

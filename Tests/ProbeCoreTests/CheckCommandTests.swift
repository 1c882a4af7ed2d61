import Foundation
import ProbeCore
import ServiceKit
import Telemetry
import TestKit
import Testing
import Transport

@testable import ProbeCore

/// `probe check` against an ingest that answers by a script.
@Suite struct CheckCommandTests {
    private static let token = "0123456789abcdef-a-secret"

    private struct Output: Decodable {
        struct Check: Decodable {
            let name: String
            let subject: String?
            let result: String
            let found: String
            let advice: String?
            let duration_ms: Double
        }

        let result: String
        let checks: [Check]
        var exitCode: ExitCode?
        var text = ""

        private enum CodingKeys: String, CodingKey { case result, checks }

        func check(_ name: String, _ subject: String? = nil) throws -> Check {
            let found = checks.first {
                $0.name == name && (subject == nil || $0.subject == subject)
            }
            return try #require(found, "no check \(name) in \(text)")
        }
    }

    private static let program = Program(
        name: "probe", abstract: "", discussion: "", examples: [], settings: ProbeSettings.all,
        metricsListen: "off", run: { _ in })

    private let folder: OwnFolder
    private let state: String

    init() throws {
        folder = try OwnFolder()
        state = "\(folder.path)/state"
    }

    private func command(
        _ arguments: [String], environment: [String: String] = [:]
    ) throws -> CheckCommand {
        try CheckCommand(
            arguments: arguments, environment: environment, settings: Self.program.allSettings,
            check: ProbeConfiguration.problems(in:))
    }

    /// The outcome of a check with a target that is refused at once.
    private func check(
        _ ingest: String, _ arguments: [String] = [], environment: [String: String] = [:]
    ) throws -> Output {
        let all =
            [
                "--json", "--ingest-url", ingest, "--target", "tcp://127.0.0.1:1", "--state-dir",
                state, "--client-id", "client", "--token", Self.token,
            ] + arguments
        var text = ""
        let exitCode = try command(all, environment: environment).run { text += $0 }
        #expect(!text.contains(Self.token))
        var output = try JSONDecoder().decode(Output.self, from: Data(text.utf8))
        output.exitCode = exitCode
        output.text = text
        return output
    }

    /// An ingest that is well, whose clock is ahead of this machine's.
    private static func ingest(
        aheadSeconds: Int64 = 0,
        _ script: @escaping @Sendable (ScriptedIngest.Request) -> ScriptedIngest.Reply? = { _ in nil
        }
    ) throws -> ScriptedIngest {
        try ScriptedIngest { request, _ in
            if let reply = script(request) { return reply }
            let now = WallClock.nowNanoseconds() / 1000 + aheadSeconds * 1_000_000
            switch request.path {
            case "/health": return .answer(200, body: "ok")
            case "/api/v1/time":
                return .answer(
                    200, body: #"{"status":"ok","server_recv_us":\#(now),"server_send_us":\#(now)}"#
                )
            default: return .accepted
            }
        }
    }

    @Test func `all is well, and an event and a heartbeat have come through`() throws {
        let ingest = try Self.ingest()
        defer { ingest.stop() }
        let output = try check(ingest.address)
        #expect(output.exitCode == .success)
        #expect(output.result == "ok")
        #expect(!output.checks.contains { $0.result == "failed" })
        for name in ["connect", "health", "access", "event", "heartbeat"] {
            #expect(try output.check(name).result == "ok", "\(output.text)")
        }
        // A target that is down is news about the target.
        #expect(try output.check("target").result == "warning")
        let event = try #require(ingest.requests().first?.events.first)
        #expect(event.target == "probe-check")
        #expect(event.client_id == "client")
        #expect(event.seq == 1)
        #expect(ingest.requests().count == 1)
        #expect(ingest.requests(to: "/api/v1/heartbeats").count == 1)
        #expect(Set(ingest.requests().map(\.token)) == ["Bearer \(Self.token)"])
        #expect(ingest.requests(to: "/health").first?.token == nil)
        // The folder is the probe's to make.
        #expect(!FileManager.default.fileExists(atPath: state))
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
    }

    @Test func `two servers get the same event, which counts once`() throws {
        let one = try Self.ingest(), two = try Self.ingest()
        defer {
            one.stop()
            two.stop()
        }
        let output = try check("\(one.address),\(two.address)")
        #expect(output.exitCode == .success)
        let events = (one.requests() + two.requests()).flatMap(\.events)
        #expect(events.count == 2)
        #expect(Set(events.map(\.event_id)).count == 1)
        #expect(Set(events.map(\.session_id)).count == 1)
    }

    @Test func `with no-event nothing is stored`() throws {
        let ingest = try Self.ingest()
        defer { ingest.stop() }
        let output = try check(ingest.address, ["--no-event"])
        #expect(output.exitCode == .success)
        #expect(try output.check("event").result == "skipped")
        #expect(try output.check("heartbeat").result == "skipped")
        #expect(ingest.requests().isEmpty)
        #expect(ingest.requests(to: "/api/v1/heartbeats").isEmpty)
    }

    @Test func `an unknown token and one that may not post are told apart`() throws {
        let unknown = try Self.ingest { request in
            request.path == "/health" ? nil : ScriptedIngest.refusal(401, code: "unauthorized")
        }
        let forbidden = try Self.ingest { request in
            request.path == "/api/v1/events"
                ? ScriptedIngest.refusal(403, code: "forbidden") : nil
        }
        defer {
            unknown.stop()
            forbidden.stop()
        }
        let first = try check(unknown.address)
        #expect(first.exitCode == .failure)
        #expect(try first.check("access").result == "failed")
        #expect(try first.check("access").found.contains("does not know the token"))
        #expect(try first.check("event").result == "skipped")

        let second = try check(forbidden.address)
        #expect(second.exitCode == .failure)
        #expect(try second.check("access").result == "ok")
        #expect(try second.check("event").result == "failed")
        #expect(try second.check("event").advice?.contains("'client'") == true)
    }

    @Test func `with a file that holds no token nobody is asked for anything`() throws {
        let ingest = try Self.ingest()
        defer { ingest.stop() }
        var text = ""
        let exitCode = try command([
            "--ingest-url", ingest.address, "--target", "tcp://127.0.0.1:1", "--state-dir", state,
            "--token-file", "/nowhere",
        ]).run { text += $0 }
        #expect(exitCode == .failure)
        #expect(text.contains("FAILED   token"))
        #expect(ingest.requests(to: "/health").count == 1)
        #expect(ingest.requests(to: "/api/v1/time").isEmpty)
        #expect(ingest.requests().isEmpty)
    }

    @Test func `a transfer is checked, but not beside a running probe`() throws {
        let target = try LocalTarget()
        let ingest = try Self.ingest()
        defer {
            target.stop()
            ingest.stop()
        }
        let name = "download+\(target.httpURL)/bytes/100000"
        let alone = try check(ingest.address, ["--target", name + " max-time=1s"])
        #expect(try alone.check("target", name).result == "ok")
        try SmallFile.makeFolder(state)
        let lock = try StateLock(folder: state)
        let beside = try check(ingest.address, ["--target", name + " max-time=1s"])
        withExtendedLifetime(lock) {}
        #expect(try beside.check("target", name).result == "skipped")
    }

    @Test func `a train that takes longer than a check may is not waited for`() throws {
        let ingest = try Self.ingest()
        defer { ingest.stop() }
        // Nothing there answers; the packets alone would take minutes.
        let name = "udp://127.0.0.1:9"
        let output = try check(
            ingest.address, ["--target", name + " count=60 gap=5s", "--timeout", "1s"])
        #expect(try output.check("target", name).result == "skipped")
    }

    @Test func `an answer that repeats the token does not get it printed`() throws {
        let ingest = try Self.ingest { request in
            guard request.path != "/health" else { return nil }
            let code = request.token?.replacing("Bearer ", with: "") ?? ""
            return ScriptedIngest.refusal(401, code: code)
        }
        defer { ingest.stop() }
        #expect(try check(ingest.address).exitCode == .failure)
    }

    @Test func `a refused event is a failure although the post was answered`() throws {
        let ingest = try Self.ingest { request in
            request.path == "/api/v1/events"
                ? .answer(
                    202,
                    body: #"{"status":"ok","rejected":[{"index":0,"error":"invalid_timestamp"}]}"#)
                : nil
        }
        defer { ingest.stop() }
        let output = try check(ingest.address)
        #expect(output.exitCode == .failure)
        #expect(try output.check("event").found.contains("invalid_timestamp"))
    }

    @Test func `a server that is not there fails alone, and what follows is skipped`() throws {
        let ingest = try Self.ingest()
        defer { ingest.stop() }
        let output = try check("http://127.0.0.1:1,\(ingest.address)")
        #expect(output.exitCode == .failure)
        #expect(try output.check("connect", "127.0.0.1:1").result == "failed")
        for name in ["health", "access", "event", "heartbeat"] {
            #expect(try output.check(name, "127.0.0.1:1").result == "skipped")
        }
        #expect(try output.check("event", try ingest.url.authority).result == "ok")
        #expect(try output.check("clock").result == "ok")
    }

    @Test func `something else than ingest at the address is told`() throws {
        let ingest = try ScriptedIngest { _, _ in .answer(302, body: "log in first") }
        defer { ingest.stop() }
        let output = try check(ingest.address)
        #expect(output.exitCode == .failure)
        #expect(try output.check("health").result == "failed")
        #expect(ingest.requests().isEmpty)
    }

    @Test func `a certificate is judged by the authorities that the probe trusts`() throws {
        let server = try LocalTarget()
        defer { server.stop() }
        let strange = try check(server.httpsURL)
        let refused = try strange.check("tls")
        #expect(refused.result == "failed")
        #expect(refused.advice?.contains("--ca-file") == true)
        #expect(try strange.check("health").result == "skipped")
        let known = try check(server.httpsURL, ["--ca-file", server.authorityFile])
        #expect(try known.check("tls").result == "ok")
        #expect(try known.check("tls").found.contains("days left"))
    }

    @Test func `a file of authorities that cannot be read is a failure`() throws {
        let output = try check("https://127.0.0.1:1", ["--ca-file", "/nowhere/ca.pem"])
        #expect(output.exitCode == .failure)
        #expect(try output.check("ca-file").result == "failed")
    }

    @Test func `a clock that is off is a warning, and the event has ingest's time`() throws {
        let ingest = try Self.ingest(aheadSeconds: 3600)
        defer { ingest.stop() }
        let output = try check(ingest.address)
        #expect(output.exitCode == .success)
        #expect(try output.check("clock").result == "warning")
        #expect(try output.check("clock").found.contains("behind"))
        #expect(try output.check("event").result == "ok")
        struct Timed: Decodable { let ts_ms: Int64 }
        let body = try #require(ingest.requests().first?.body)
        let ahead =
            try JSONDecoder().decode(Timed.self, from: Data(body)).ts_ms
            - WallClock.nowMilliseconds()
        #expect(ahead > 1_800_000)
    }

    @Test func `an older ingest that does not tell the time is a warning`() throws {
        let ingest = try Self.ingest { $0.path == "/api/v1/time" ? .answer(404) : nil }
        defer { ingest.stop() }
        let output = try check(ingest.address)
        #expect(output.exitCode == .success)
        #expect(try output.check("access").result == "warning")
        #expect(try output.check("clock").result == "skipped")
        #expect(try output.check("event").result == "ok")
    }

    @Test func `a state folder that cannot be used is a failure`() throws {
        let ingest = try Self.ingest()
        defer { ingest.stop() }
        try writeText("a file", to: state)
        let file = try check(ingest.address, ["--no-event"])
        #expect(file.exitCode == .failure)
        #expect(try file.check("state folder").result == "failed")
        try FileManager.default.removeItem(atPath: state)
        let missing = try check(ingest.address, ["--no-event"])
        #expect(missing.exitCode == .success)
        // Not even root can make a folder there.
        #expect(StateFolderCheck("/proc/self/state").finding.result == .failed)
    }

    @Test func `a running probe is left alone`() throws {
        let ingest = try Self.ingest()
        defer { ingest.stop() }
        try SmallFile.makeFolder(state)
        let lock = try StateLock(folder: state)
        let before = try FileManager.default.contentsOfDirectory(atPath: state)
        let output = try check(ingest.address)
        withExtendedLifetime(lock) {}
        #expect(output.exitCode == .success)
        #expect(
            try output.check("state folder").found.contains(
                "in use by a running probe (process \(getpid()))"))
        #expect(try output.check("event").result == "ok")
        #expect(try output.check("heartbeat").result == "skipped")
        #expect(ingest.requests(to: "/api/v1/heartbeats").isEmpty)
        #expect(try FileManager.default.contentsOfDirectory(atPath: state) == before)
    }

    @Test func `the client's name is the one that the probe has kept`() throws {
        let ingest = try Self.ingest()
        defer { ingest.stop() }
        let kept = try ClientIdentity.keptName(in: state)
        var text = ""
        _ = try command([
            "--ingest-url", ingest.address, "--target", "tcp://127.0.0.1:1", "--state-dir",
            state,
        ]).run { text += $0 }
        #expect(ingest.requests().first?.events.first?.client_id == kept.text)
        #expect(text.contains("token"))
        #expect(ingest.requests().first?.token == nil)
    }

    @Test func `a token's file is judged by who can read it`() throws {
        let path = "\(folder.path)/token"
        var configuration = ProbeConfiguration(targets: [], servers: [])
        configuration.tokenFile = path
        #expect(TokenCheck.run(configuration).0.result == .failed)
        try writeText(Self.token, to: path)
        #expect(chmod(path, 0o644) == 0)
        #expect(TokenCheck.run(configuration).0.result == .warning)
        #expect(chmod(path, 0o600) == 0)
        let (finding, source) = TokenCheck.run(configuration)
        #expect(finding.result == .ok)
        #expect(source?.current == Self.token)
    }

    @Test func `each problem of the configuration is told, and has its own exit code`() throws {
        var text = ""
        let exitCode = try command([
            "--ingest-url", "http://a:0/", "--target", "gopher://a/", "--state-dir", state,
        ]).run { text += $0 }
        #expect(exitCode == .configuration)
        #expect(text.components(separatedBy: "FAILED   configuration").count == 3)
    }

    @Test(arguments: [
        ["--nonsense"], ["--json", "extra"], ["--print-config"], ["--target"],
    ])
    func `a misused command line is told`(arguments: [String]) throws {
        #expect(throws: CheckCommand.Misuse.self) { try command(arguments) }
    }
}

import FoundationEssentials
import Glibc
import ProbeCore
import ServiceKit
import Telemetry
import TestKit
import Testing

@testable import ProbeCore

@Suite struct ConfigurationTests {
    private func problems(_ values: [String: String]) throws -> [String] {
        var all = ["target": "http://a/", "ingest-url": "http://ingest/"]
        all.merge(values) { $1 }
        let settings = try Settings(ProbeSettings.all, values: all)
        do throws(ConfigurationRefusal) {
            _ = try ProbeConfiguration(settings)
            return []
        } catch {
            return error.problems.map { "\($0)" }
        }
    }

    @Test func `defaults with a target and a server are enough`() throws {
        #expect(try problems([:]).isEmpty)
    }

    @Test(arguments: [
        ["target": "http://user:pw@a/"], ["target": "http://a/,http://a/"],
        ["ingest-url": "http://a:0/"], ["label": "noequals"], ["client-id": "a\nb"],
        ["token": "a", "token-file": "b"], ["isp": String(repeating: "x", count: 129)],
        ["target": "http://a/" + String(repeating: "x", count: 255)],
    ])
    func `each mistake is one problem`(values: [String: String]) throws {
        #expect(try problems(values).count == 1)
    }
}

@Suite struct ClientIdentityTests {
    @Test func `a name is made once and kept`() throws {
        try withTemporaryFolder { folder in
            let state = "\(folder)/deep/state"
            let name = try ClientIdentity.keptName(in: state)
            #expect(ClientIdentity.isUsable(name.text))
            #expect(try ClientIdentity.keptName(in: state) == name)
            #expect(try ClientIdentity.keptName(in: "\(folder)/other") != name)
        }
    }

    @Test(arguments: ["", "two words", "\u{1}"])
    func `a file with something else is told, not overwritten`(text: String) throws {
        try withTemporaryFolder { folder in
            try writeText(text, to: "\(folder)/client-id")
            #expect(throws: FileProblem.self) { try ClientIdentity.keptName(in: folder) }
            #expect(try String(contentsOfFile: "\(folder)/client-id", encoding: .utf8) == text)
        }
    }

    @Test func `the state folder follows the user`() {
        let environment = ["XDG_STATE_HOME": "/x/state", "HOME": "/home/u"]
        func folder(_ names: [String], isRoot: Bool) -> String? {
            ClientIdentity.defaultStateFolder(
                environment: { names.contains($0) ? environment[$0] : nil }, isRoot: isRoot)
        }
        #expect(folder(["XDG_STATE_HOME", "HOME"], isRoot: true) == "/var/lib/qoe-probe")
        #expect(folder(["XDG_STATE_HOME", "HOME"], isRoot: false) == "/x/state/qoe-probe")
        #expect(folder(["HOME"], isRoot: false) == "/home/u/.local/state/qoe-probe")
        #expect(folder([], isRoot: false) == nil)
    }
}

@Suite struct TokenSourceTests {
    @Test func `white space around a token is not part of it`() throws {
        try withTemporaryFolder { folder in
            let file = "\(folder)/token"
            try writeText("  abc.def\n", to: file)
            #expect(try TokenSource(file: file).current == "abc.def")
        }
    }

    @Test(arguments: ["", "a b", "a\r\nX-Injected: 1", "ü", "\u{1}"])
    func `what could not stand in a header is no token`(text: String) {
        #expect(throws: FileProblem.self) { try TokenSource(text: text) }
    }

    @Test func `a file that others can read is noticed`() throws {
        try withTemporaryFolder { folder in
            let file = "\(folder)/token"
            try writeText("abc", to: file)
            chmod(file, 0o644)
            #expect(try TokenSource(file: file).isReadableByOthers)
            chmod(file, 0o600)
            #expect(try !TokenSource(file: file).isReadableByOthers)
        }
    }
}

@Suite struct ResolverAddressTests {
    @Test(arguments: [
        ("nameserver 192.0.2.53\n", "192.0.2.53"),
        (
            "# nameserver 1.1.1.1\nsearch x\nnameserver\t2001:db8::53\nnameserver 9.9.9.9",
            "2001:db8::53"
        ),
        ("nameserver 127.0.0.53\n", nil), ("nameserver ::1", nil), ("nameserver evil", nil),
        ("", nil),
    ])
    func `the first name server outside this machine is told`(text: String, address: String?) {
        #expect(ResolverAddress.firstServer(in: text) == address)
    }
}

@Suite struct OnceCommandTests {
    @Test func `shows the stages, and exits by what was found`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let good = try OnceCommand(arguments: ["\(target.httpURL)/fast"]).run()
        #expect(good.exitCode == .success)
        #expect(good.output.contains("ttfb"))
        let bad = try OnceCommand(arguments: ["--timeout", "5s", "\(target.httpURL)/fail"]).run()
        #expect(bad.exitCode == .failure)
        #expect(bad.output.contains("FAILED in http"))
    }

    @Test func `prints the event for programs`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let arguments = [
            "\(target.httpsURL)/fast", "--json", "--ca-file=\(target.authorityFile)",
            "--client-id", "me",
        ]
        let (output, _) = try OnceCommand(arguments: arguments).run()
        struct Decoded: Decodable {
            let client_id: String
            let timing_measurements: [String: Double]
            let seq: UInt64?
            let details: Details
        }
        struct Details: Decodable {
            let tls_version: String
            let tls_round_trips: Int
            let certificate_days_left: Double
        }
        let event = try JSONDecoder().decode(Decoded.self, from: Data(output.utf8))
        #expect(event.client_id == "me")
        #expect(event.timing_measurements["tls_ms"] != nil)
        #expect(event.seq == nil)
        #expect(event.details.tls_version == "TLSv1.3")
        #expect(event.details.tls_round_trips == 1)
        #expect(event.details.certificate_days_left > 80)
    }

    @Test func `a failure is told to programs with its stage and reason`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let (output, exitCode) = try OnceCommand(arguments: [
            "\(target.httpURL)/fast", "expect-body=no\"where", "--json",
        ]).run()
        #expect(exitCode == .failure)
        struct Decoded: Decodable {
            let error_stage: String
            let details: [String: Value]
        }
        struct Value: Decodable {
            let text: String?
            init(from decoder: any Decoder) throws {
                text = try? decoder.singleValueContainer().decode(String.self)
            }
        }
        let event = try JSONDecoder().decode(Decoded.self, from: Data(output.utf8))
        #expect(event.error_stage == "http")
        #expect(event.details["error"]?.text?.contains("no\"where") == true)
    }

    @Test func `a target's options are taken in one argument or in several`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let url = "\(target.httpURL)/fail?status=404"
        for arguments in [
            ["\(url) expect-status=404 expect-body=as%20asked"],
            [url, "expect-status=404", "--timeout", "5s", "expect-body=as%20asked"],
        ] {
            #expect(try OnceCommand(arguments: arguments).run().exitCode == .success)
        }
        #expect(
            try OnceCommand(arguments: [url, "expect-status=200"]).run().exitCode == .failure)
    }

    @Test func `other kinds are shown by the names of their metrics and details`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let (output, exitCode) = try OnceCommand(arguments: [
            "download+\(target.httpURL)/bytes/1000000000000", "max-time=200ms", "max-bytes=16GiB",
        ]).run()
        #expect(exitCode == .success)
        let lines = output.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.contains { $0.hasPrefix("  throughput") && $0.hasSuffix("Mbit/s") })
        #expect(lines.contains { $0.hasPrefix("  connections ") && $0.hasSuffix(" 4") })
    }

    @Test(arguments: [
        [], ["a"], ["http://a/", "http://b/"], ["--unknown", "http://a/"],
        ["http://a/", "--timeout"],
        ["http://a/", "--timeout", "soon"],
    ])
    func `a wrong command line is told`(arguments: [String]) {
        #expect(throws: OnceCommand.Misuse.self) { try OnceCommand(arguments: arguments) }
    }
}

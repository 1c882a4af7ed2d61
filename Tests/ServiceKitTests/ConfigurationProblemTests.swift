import ServiceKit
import Testing

/// One mistake, and the exact line that is shown for it; `FILE` stands for the file's path.
struct Mistake: Sendable, CustomTestStringConvertible {
    var yaml: String?
    var arguments: [String] = []
    var environment: [String: String] = [:]
    var line: String

    var testDescription: String { line }
}

private let mistakes: [Mistake] = [
    // The file.
    Mistake(
        yaml: "\nlisten: abc\n",
        line: "FILE:2: listen: 'abc' is not host:port; write for example 0.0.0.0:8080"),
    Mistake(
        yaml: "lisen: 127.0.0.1:1",
        line: "FILE:1: lisen: is not a known setting; did you mean listen?"),
    Mistake(
        yaml: "colour: red", line: "FILE:1: colour: is not a known setting; --help lists all"),
    Mistake(
        yaml: "workers: 1\nlinger: 1s\nworkers: 2",
        line: "FILE:3: workers: is set twice, first on line 1; keep one"),
    Mistake(yaml: "workers:\n", line: "FILE:1: workers: has no value; give one or remove the line"),
    Mistake(yaml: "workers: [1, 2]", line: "FILE:1: workers: is a list; give one value (NUMBER)"),
    Mistake(yaml: "workers: {a: 1}", line: "FILE:1: workers: is a mapping; give a value (NUMBER)"),
    Mistake(
        yaml: "label: [a, [b]]",
        line: "FILE:1: label: holds something other than plain values"),
    Mistake(
        yaml: "- workers", line: "FILE:1: is not a mapping; write one 'name: value' per line"),
    Mistake(
        yaml: "workers: [1\n",
        line: "FILE:2: is not valid YAML: did not find expected ',' or ']', at column 1"),
    Mistake(yaml: "? [a]\n: b", line: "FILE:1: a key is not a plain word"),
    Mistake(
        yaml: "print-config: true",
        line: "FILE:1: print-config: cannot be set in a file; give it as --print-config"),
    Mistake(
        yaml: "config: a.yaml", line: "FILE:1: config: cannot be set in a file; give it as --config"
    ),
    Mistake(
        arguments: ["--config", "/nonexistent/a.yaml"],
        line: "/nonexistent/a.yaml: there is no such file (named by --config)"),
    Mistake(
        environment: ["QOE_CONFIG": "/"], line: "/: is a folder, not a file (named by QOE_CONFIG)"),
    // The environment.
    Mistake(
        environment: ["QOE_INTERVAL": "soon"],
        line: "QOE_INTERVAL: 'soon' is not a duration; write for example 500ms, 30s, 5m or 2h"),
    Mistake(
        arguments: ["--tokens-file=a\u{0}b"],
        line: "--tokens-file: 'a\\u{0}b' is not a path"),
    // Values, by kind.
    Mistake(
        arguments: ["--workers", "many"],
        line: "--workers: 'many' is not a whole number; write for example 1"),
    Mistake(arguments: ["--workers=65"], line: "--workers: '65' is not within 1 and 64"),
    Mistake(
        arguments: ["--workers=99999999999999999999"],
        line: "--workers: '99999999999999999999' is not a whole number; write for example 1"),
    Mistake(
        arguments: ["--ratio=nan"], line: "--ratio: 'nan' is not a number; write for example 0.0"),
    Mistake(
        arguments: ["--batch-bytes=64kb"],
        line: "--batch-bytes: '64kb' is not a number of bytes; write for example 64KiB or 512MiB"),
    Mistake(
        arguments: ["--batch-bytes=2GiB"],
        line: "--batch-bytes: '2GiB' is not within 1KiB and 1GiB"),
    Mistake(arguments: ["--linger", "2m"], line: "--linger: '2m' is not within 0s and 1m"),
    Mistake(
        arguments: ["--interval", "9223372036854775807h"],
        line: "--interval: '9223372036854775807h' is not a duration; write for example 500ms, 30s,"
            + " 5m or 2h"),
    Mistake(
        arguments: ["--monitor=on"],
        line: "--monitor: 'on' is not host:port; write for example 0.0.0.0:9090, or off"),
    Mistake(arguments: ["--dry-run=maybe"], line: "--dry-run: 'maybe' is neither true nor false"),
    Mistake(
        arguments: ["--mode", "fats"],
        line: "--mode: 'fats' is not a known choice; did you mean fast? Otherwise choose one of"
            + " fast, safe"),
    Mistake(
        arguments: ["--nats-url=nats://a:4222,b:4222"],
        line: "--nats-url: 'b:4222' is not a URL; write for example nats://127.0.0.1"),
    Mistake(
        arguments: ["--postgres-url=http://u:secret@h/db"],
        line: "--postgres-url: 'http://u:***@h/db' does not begin with postgresql:// or"
            + " postgres://"),
    Mistake(
        yaml: "client-id: \"a\\nb\"\nlisten: \"a\\nb\"",
        line: "FILE:2: listen: 'a\\nb' is not host:port; write for example 0.0.0.0:8080"),
    // The command line.
    Mistake(
        arguments: ["--lisen", "x"], line: "--lisen: is not a known flag; did you mean --listen?"),
    Mistake(
        arguments: ["--colour=red"], line: "--colour: is not a known flag; --help lists all flags"),
    Mistake(arguments: ["--listen"], line: "--listen: needs a value; write --listen HOST:PORT"),
    Mistake(
        arguments: ["--listen", "--dry-run"],
        line: "--listen: needs a value; write --listen HOST:PORT"),
    Mistake(
        arguments: ["--workers=1", "--workers=2"],
        line: "--workers: is given more than once; give it once"),
    Mistake(
        arguments: ["start"],
        line: "'start': is not expected here; settings are given as --name value"),
    Mistake(arguments: ["--check-config=yes"], line: "--check-config: takes no value"),
]

@Suite struct ConfigurationProblemTests {
    @Test(arguments: mistakes)
    func `a mistake is named where it is, with what to write instead`(mistake: Mistake) throws {
        let folder = try TemporaryFolder()
        var arguments = mistake.arguments
        var path = ""
        if let yaml = mistake.yaml {
            path = try folder.file("c.yaml", yaml)
            arguments += ["--config", path]
        }
        let result = load(arguments, environment: mistake.environment)
        #expect(result.settings == nil)
        #expect(
            result.problems.map(\.description) == [
                mistake.line.replacing("FILE:", with: "\(path):")
            ])
    }

    @Test func `all mistakes are told at once, in the order of the file`() throws {
        let folder = try TemporaryFolder()
        let file = try folder.file("c.yaml", "workers: 0\nx: 1\nlisten: y\n")
        let result = load(["--config", file, "--oops"], environment: ["QOE_LINGER": "z"])
        #expect(
            result.problems.map(\.place) == [
                "--oops", "QOE_LINGER", "\(file):1: workers", "\(file):2: x", "\(file):3: listen",
            ])
        #expect(result.problems.map(\.category) == [.usage, .value, .value, .value, .value])
    }

    @Test func `a required setting that nobody tried to set is missed once`() throws {
        let settings = [Setting("tokens-file", .path, isRequired: true, help: "Tokens.")]
        #expect(
            load(settings: settings).problems.map(\.description) == [
                "tokens-file: is required; set it with --tokens-file, QOE_TOKENS_FILE or"
                    + " 'tokens-file:' in the file"
            ])
        #expect(load(["--tokens-file"], settings: settings).problems.count == 1)
    }

    @Test func `a secret value is not repeated`() {
        let settings = [Setting("pin", .integer(0...9), isSecret: true, help: "A secret.")]
        let problems = load(["--pin", "hunter2"], settings: settings).problems
        #expect(
            problems.map(\.description) == [
                "--pin: the value is not a whole number; write for example 0"
            ])
    }

    @Test func `a file that is no text is refused`() throws {
        let result = load(["--config", "/proc/self/exe"])
        #expect(
            result.problems.map(\.description) == [
                "/proc/self/exe: is longer than 1MiB (named by --config)"
            ])
    }
}

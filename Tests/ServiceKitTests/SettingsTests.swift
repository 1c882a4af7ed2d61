import ServiceKit
import Testing

@Suite struct SettingsTests {
    @Test func `the command line goes before the environment, that before the file`() throws {
        let folder = try TemporaryFolder()
        let file = try folder.file("c.yaml", "workers: 3\ninterval: 3s\nlinger: 3ms\n")
        let environment = ["QOE_WORKERS": "2", "QOE_INTERVAL": "2s", "QOE_CONFIG": file]
        let settings = try #require(load(["--workers", "1"], environment: environment).settings)
        #expect(settings.integer("workers") == 1)
        #expect(settings.duration("interval") == .seconds(2))
        #expect(settings.duration("linger") == .milliseconds(3))
        #expect(settings.number("ratio") == 0.5)
        #expect(settings.origin("workers") == .flag("--workers"))
        #expect(settings.origin("interval") == .environment("QOE_INTERVAL"))
        #expect(settings.origin("linger") == .file(path: file, line: 3))
        #expect(settings.origin("ratio") == .default)
    }

    @Test func `every kind has its getter`() throws {
        let arguments = [
            "--listen=[::1]:0", "--client-id", "", "--label", "a, b", "--label=c", "--dry-run",
            "--ratio", "0.25", "--batch-bytes", "1MiB", "--mode", "fast", "--target",
            "https://a.example,http://b.example",
        ]
        let settings = try #require(load(arguments).settings)
        #expect(settings.address("listen") == NetworkAddress(host: "::1", port: 0))
        #expect(settings.optionalString("client-id") == "")
        #expect(settings.strings("label") == ["a", "b", "c"])
        #expect(settings.boolean("dry-run"))
        #expect(settings.number("ratio") == 0.25)
        #expect(settings.integer("batch-bytes") == 1 << 20)
        #expect(settings.string("mode") == "fast")
        #expect(settings.urls("target") == ["https://a.example", "http://b.example"])
        #expect(settings.optionalAddress("monitor") == nil)
        #expect(settings.optionalPath("tokens-file") == nil)
        #expect(!settings.isSet("tokens-file"))
    }

    @Test func `a list in the file, an alternative variable and a negated flag are understood`()
        throws
    {
        let folder = try TemporaryFolder()
        let file = try folder.file("c.yaml", "label:\n  - x\n  - \"y z\"\ndry-run: yes\n")
        let settings = try #require(
            load(
                ["--config", file, "--no-dry-run"], environment: ["QOE_TARGET": "http://t"]
            ).settings)
        #expect(settings.strings("label") == ["x", "y z"])
        #expect(settings.urls("target") == ["http://t"])
        #expect(!settings.boolean("dry-run"))
    }

    @Test func `an empty variable counts as not set, and an empty file sets nothing`() throws {
        let folder = try TemporaryFolder()
        let file = try folder.file("c.yaml", "# nothing\n")
        let settings = try #require(
            load(["--config", file], environment: ["QOE_WORKERS": ""]).settings)
        #expect(settings.integer("workers") == 4)
    }

    @Test func `a variable that looks misspelled is warned about, others are not`() {
        let result = load(environment: ["QOE_WORKRES": "1", "QOE_SOMETHING_ELSE": "1", "HOME": "/"])
        #expect(result.problems.isEmpty)
        #expect(
            result.warnings.map(\.description) == [
                "QOE_WORKRES: is not used by this program; did you mean QOE_WORKERS?"
            ])
    }

    @Test func `settings can be made from parsed flags`() throws {
        let settings = try Settings(
            [.natsURL], flags: ["nats-url": ["nats://a", "nats://b"]], environment: [:])
        #expect(settings.urls("nats-url") == ["nats://a", "nats://b"])
        #expect(throws: ConfigurationError.self) {
            try Settings([.natsURL], values: ["nats-url": "ftp://a"])
        }
    }
}

@Suite struct VisibleSecretTests {
    @Test func `a password on the command line is warned of, without showing it`() {
        let settings = sampleSettings + [.postgresPasswordFile]
        let url = "postgresql://u:s3cret@h/db"
        let shown = load(["--postgres-url=\(url)"], settings: settings)
        #expect(shown.settings != nil)
        #expect(
            shown.warnings.map(\.description) == [
                "--postgres-url: holds a password, which everybody on this machine can see in the list "
                    + "of processes; use --postgres-password-file, QOE_POSTGRES_URL, or the file of "
                    + "--config"
            ])
        #expect(load([], environment: ["QOE_POSTGRES_URL": url]).warnings.isEmpty)
        #expect(load(["--postgres-url=postgresql://u@h/db"], settings: settings).warnings.isEmpty)
    }
}

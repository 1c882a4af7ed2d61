import ServiceKit
import Testing

@Suite struct PrintedConfigurationTests {
    @Test func `each value is shown with its origin, and secrets are not`() throws {
        let folder = try TemporaryFolder()
        let file = try folder.file(
            "c.yaml", "token: hunter2\nnats-url: [\"nats://u:secret@a\", nats://b]\n")
        let settings = try #require(
            load(
                ["--config", file, "--workers", "2", "--client-id", "a: \"b\" #\u{1b}"],
                environment: ["QOE_LABEL": "x,y"]
            ).settings)
        let expected = """
            # The effective configuration of sample. *** stands for a secret.
            listen: 0.0.0.0:8080  # default
            client-id: "a: \\"b\\" #\\U0000001b"  # --client-id
            label:  # QOE_LABEL
              - x
              - "y"
            workers: 2  # --workers
            ratio: 0.5  # default
            batch-bytes: 64KiB  # default
            interval: 30s  # default
            linger: 5ms  # default
            monitor: "off"  # default
            dry-run: false  # default
            mode: safe  # default
            # tokens-file is not set
            token: "***"  # \(file):1
            # target is not set
            nats-url:  # \(file):2
              - nats://u:***@a
              - nats://b
            postgres-url: postgresql://qoe@127.0.0.1:5432/telemetry  # default

            """
        #expect(PrintedConfiguration.yaml(of: settings, program: "sample") == expected)
    }

    @Test func `what is printed can be read again`() throws {
        let folder = try TemporaryFolder()
        let first = try #require(
            load(["--client-id", "it's: \"x\"\n#y", "--label", "on,1,a b"]).settings)
        let printed = PrintedConfiguration.yaml(of: first, program: "sample")
        let file = try folder.file("c.yaml", printed)
        let second = try #require(load(["--config", file]).settings)
        #expect(second.string("client-id") == "it's: \"x\"\n#y")
        #expect(second.strings("label") == ["on", "1", "a b"])
    }
}

import ArgumentParser
import Foundation

/// Loads one way to NATS and checks that nothing acknowledged is lost; see Scripts/soak-tls.
struct NATSSoak: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "natssoak",
        abstract: "Publishes and pulls over one way to NATS, cuts it again and again, and reports.",
        discussion: """
            One connection publishes with up to 256 messages in flight, as ingest does, and another pulls all \
            of them, as an aggregator does, both through a proxy that cuts all connections. Exit codes: 0; 1 \
            when a message was lost that had been acknowledged, or nothing was acknowledged at all.
            """)

    @Option(help: "The port of the server or sidecar on 127.0.0.1.")
    var port: Int

    @Option(help: "How long to publish.")
    var seconds: Int

    @Option(help: "The seconds between two cuts.")
    var cutEvery = 5

    @Option(help: "A folder with cert.pem, key.pem and ca.pem: libnats speaks TLS itself.")
    var tlsFolder: String?

    @Option(help: "The name in the server's certificate.")
    var tlsName = "nats-1"

    func run() throws {
        let load = try Load(
            port: port, tlsFolder: tlsFolder, tlsName: tlsName, duration: .seconds(seconds),
            cutInterval: .seconds(cutEvery))
        let report = try load.run()
        print(report)
        if report.lost > 0 || report.acknowledged == 0 { throw ExitCode(1) }
    }
}

NATSSoak.main()

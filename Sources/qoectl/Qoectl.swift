import ArgumentParser
import ServiceKit

/// The operator's tool.
@main
struct Qoectl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "qoectl",
        abstract: "Runs and looks after the Network QoE Telemetry Platform.",
        discussion: """
            Try it on this machine:    qoectl local up
            Look at what it measured:  qoectl local psql
            Prepare a database:        qoectl db migrate --postgres-url postgresql://qoe@db/telemetry
            Ask it with SQL:           qoectl query "SELECT * FROM probe_states"
            See how far it counted:    qoectl partitions
            Check what it counted:     qoectl verify
            Look at what it could not: qoectl dlq list
            Stop all measuring:        qoectl fleet stop --reason "maintenance of the core"
            Ask a program how it is:   qoectl health 127.0.0.1:9090
            Let a probe in:            qoectl token create --tokens-file tokens.jsonl --client probe-001
            Plan several machines:     qoectl deploy plan --hosts hosts
            Make their certificates:   qoectl certs init --hosts hosts --out certs
            """,
        version: Build.version,
        subcommands: [
            LocalCommand.self, DatabaseCommand.self, QueryCommand.self, TokenCommand.self,
            PartitionsCommand.self, FleetCommand.self, VerifyCommand.self, DeadLetterCommand.self,
            HealthCommand.self, DeployCommand.self, CertificatesCommand.self,
        ])
}

/// Ends the command with a line that says what is wrong and what to do.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

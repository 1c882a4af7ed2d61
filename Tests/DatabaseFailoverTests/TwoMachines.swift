import Deployment
import Foundation
import PrivateServers
import TestKit
import Transport

@testable import DatabaseFailover

/// The two servers of docker-compose.storage.yml with the real entry script and PostgreSQL, as processes: a
/// stand-in for docker runs them, and scripts for their machines run here.
final class TwoMachines {
    let folder: String
    let pair: DatabasePair
    private let shell: Shell

    static let primary = "postgres-primary"
    static let replica = "postgres-replica"

    /// Runs each script by a local sh; a machine that is cut off answers nothing.
    private final class Shell: MachineShell {
        let environment: [String: String]
        nonisolated(unsafe) var unreachable: String?

        init(_ environment: [String: String]) { self.environment = environment }

        func run(
            _ script: String, on machine: Machine, input: ScriptInput, timeout: Duration,
            onOutput: ((ArraySlice<UInt8>) -> Void)?
        ) throws(RemoteError) -> ScriptOutput {
            if unreachable == machine.name {
                throw RemoteError(.unreachable, machine, "no route to it")
            }
            var command = ChildCommand("sh", ["-c", script], timeout: timeout)
            command.environment = environment
            do throws(ChildCommand.Failure) {
                return try command.run(onOutput: onOutput)
            } catch {
                throw RemoteError(.local, machine, "\(error)")
            }
        }
    }

    init(_ folder: String) throws {
        self.folder = folder
        let tests = URL(filePath: #filePath).deletingLastPathComponent()
        // Copies, as the servers' account may not pass the folders of the checkout.
        let deploy = "\(folder)/deploy"
        try FileManager.default.copyItem(
            atPath: tests.appending(path: "../../deploy").standardized.path(), toPath: deploy)
        let postgres = try InstalledProgram.find(
            "pg_rewind", debianPackage: "postgresql",
            alsoIn: (15...18).reversed().map { "/usr/lib/postgresql/\($0)/bin" })
        let programs = URL(filePath: postgres).deletingLastPathComponent().path()
        let path =
            "\(tests.appending(path: "Machines").path()):\(deploy)/test-images/postgres:\(programs):"
            + "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        let account = Account.isRoot ? try Account(named: "nobody") : nil
        let authority = try LocalAuthority()
        let ports = [Self.primary: try freeLoopbackPort(), Self.replica: try freeLoopbackPort()]
        try FileManager.default.createDirectory(
            atPath: "\(folder)/secrets", withIntermediateDirectories: true)
        for login in ["admin", "qoe", "reader", "replication"] {
            try Data("password-of-\(login)".utf8).write(
                to: URL(filePath: "\(folder)/secrets/postgres_\(login)_password"))
        }
        try FileManager.default.createDirectory(
            atPath: "\(folder)/initdb", withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(
            atPath: "\(folder)/initdb/prepare.sh",
            withDestinationPath: "\(deploy)/postgres/prepare-primary.sh")
        // Whoever runs the tests is not called postgres.
        let access = try String(contentsOfFile: "\(deploy)/postgres/pg_hba.conf", encoding: .utf8)
        try access.replacingOccurrences(of: " peer", with: " trust").write(
            toFile: "\(folder)/pg_hba.conf", atomically: true, encoding: .utf8)
        for (name, peer) in [(Self.primary, Self.replica), (Self.replica, Self.primary)] {
            let home = "\(folder)/\(name)"
            for part in ["data", "certs", "socket", "scratch"] {
                try FileManager.default.createDirectory(
                    atPath: "\(home)/\(part)", withIntermediateDirectories: true)
            }
            try authority.issue(
                for: ["localhost"], certificateFile: "\(home)/certs/cert.pem",
                keyFile: "\(home)/certs/key.pem")
            try authority.writeCertificate(to: "\(home)/certs/ca.pem")
            let port = ports[name] ?? 0
            try """
            export HOME=\(home) PGDATA=\(home)/data/pgdata PGHOST=\(home)/socket PGPORT=\(port)
            export SERVER_NAME=\(name) PEER_HOST=localhost PEER_PORT=\(ports[peer] ?? 0)
            export FIRST_ROLE=\(name == Self.primary ? "primary" : "replica")
            export CERTIFICATES=\(home)/certs SECRETS=\(folder)/secrets SCRATCH=\(home)/scratch
            export POSTGRES_PASSWORD_FILE=\(folder)/secrets/postgres_admin_password
            export POSTGRES_INITDB_ARGS=--data-checksums INITDB_SCRIPTS=\(folder)/initdb
            ACCOUNT=\(account?.userIdentifier ?? 0) GROUP=\(account?.groupIdentifier ?? 0)
            """.write(toFile: "\(home)/environment", atomically: true, encoding: .utf8)
            try """
            #!/bin/sh
            exec \(deploy)/postgres/run.sh -c config_file=\(deploy)/postgres/postgresql.conf \
                -c hba_file=\(folder)/pg_hba.conf -c ssl_cert_file=\(home)/certs/cert.pem \
                -c ssl_key_file=\(home)/certs/key.pem -c unix_socket_directories=\(home)/socket \
                -c listen_addresses=localhost -c port=\(port) -c shared_buffers=32MB \
                -c fsync=off
            """.write(toFile: "\(home)/run", atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes(
                [.posixPermissions: 0o755], ofItemAtPath: "\(home)/run")
        }
        shell = Shell(["PATH": path, "MACHINES": folder])
        let inventory = try Inventory(
            """
            192.0.2.11 postgres-primary
            192.0.2.12 postgres-replica
            192.0.2.21 nats-1
            192.0.2.31 aggregator-1 diagnoser-1 ingest-1
            """)
        pair = try DatabasePair(inventory, shell)
        if let account {
            try docker(
                "chown -R \(account.userIdentifier):\(account.groupIdentifier) \(folder)/postgres-*"
                    + " \(folder)/secrets && chmod 700 \(folder)/postgres-*/data")
        }
    }

    /// Cuts the way from here to a machine, or mends it; the two servers still reach each other.
    func cutOff(_ name: String?) { shell.unreachable = name }

    @discardableResult
    func docker(_ script: String) throws -> String {
        let server = try pair.server(Self.primary)
        let cut = shell.unreachable
        shell.unreachable = nil
        defer { shell.unreachable = cut }
        return try shell.succeed(script, on: server.machine, timeout: .seconds(150)).text
    }

    func sql(_ statement: String, at name: String) throws -> String {
        try docker(
            "docker exec \(name) psql -X -q -A -t -U postgres -d postgres -c \(shellQuoted(statement))"
        )
    }

    func log(of name: String) -> String {
        (try? String(contentsOfFile: "\(folder)/\(name)/log", encoding: .utf8)) ?? ""
    }

    /// The server as it is now.
    func sight(_ name: String) throws -> ServerSight { pair.look(at: try pair.server(name)) }

    func failover(_ change: (inout FailoverPolicy) -> Void = { _ in }) throws -> (
        decision: FailoverDecision, said: [String]
    ) {
        var policy = FailoverPolicy()
        change(&policy)
        var said: [String] = []
        let failover = Failover(pair, policy, isStopped: { false }) { said.append($0) }
        let decision = try failover.decide()
        if case .promote(let name, let old, let isClean, let fences) = decision {
            try failover.promote(name, insteadOf: old, isClean: isClean, fences: fences)
        }
        return (decision, said)
    }

    func rejoin() throws -> (decision: RejoinDecision, said: [String]) {
        var said: [String] = []
        let rejoin = Rejoin(pair, timeout: .seconds(120), isStopped: { false }) { said.append($0) }
        let decision = try rejoin.decide()
        switch decision {
        case .start(let name, let primary): try rejoin.start(name, following: primary)
        case .remake(let name, let primary): try rejoin.remake(name, following: primary)
        case .nothingToDo, .refused: break
        }
        return (decision, said)
    }

    /// Ends what runs.
    func end() {
        for name in [Self.primary, Self.replica] { _ = try? docker("docker kill \(name)") }
    }
}

import ArgumentParser
import Deployment
import Foundation
import IngestCore

struct InitializeDeployment: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Makes what an installation's folder lacks: secrets, certificates, tokens.",
        discussion: """
              qoectl deploy init --hosts hosts
            copies the hosts file into the folder when there is none yet. What is there is kept: run it \
            again after a change of the hosts file. Keep a copy of the folder where it is safe: its secrets \
            and certs/ca.key cannot be made again.

            Exit codes: 0; 1 something could not be made; 64 wrong usage; 78 something is wrong with \
            the hosts file.
            """)

    @OptionGroup var installation: InstallationOptions

    @Option(
        help: ArgumentHelp(
            "A hosts file to begin with.", discussion: "hosts.example shows one.",
            valueName: "path"))
    var hosts: String?

    func run() throws {
        let folder = installation.folder
        if let hosts, !folder.has("hosts") {
            var options = HostsOptions()
            options.hosts = hosts
            _ = try options.inventory()
            try folder.write("hosts", try InstallationFolder.read(hosts), mode: 0o644)
            say("\(folder.hostsFile): copied from \(hosts)")
        } else if hosts != nil {
            say("\(folder.hostsFile): kept")
        } else if !folder.has("hosts") {
            throw ValidationError(
                "there is no \(folder.hostsFile); name a hosts file with --hosts PATH, and see hosts.example for what "
                    + "belongs into it")
        }
        let inventory = try installation.inventory()
        try interruptibly { _ in
            try NewSecrets(folder: folder, sources: installation.sources).make()
            let certificates = folder.certificates
            let isNew = !certificates.hasAuthority
            let authority =
                try isNew ? certificates.makeAuthority() : certificates.readAuthority()
            say("\(certificates.authorityFile): \(isNew ? "made; keep ca.key secret" : "kept")")
            try makeCertificates(inventory, certificates, authority, isForced: false)
            for probe in inventory.services where probe.role == .probe {
                var new = NewProbe(
                    folder: folder, sources: installation.sources, name: probe.name)
                new.inventory = inventory
                try new.make()
            }
        }
    }
}

/// The secrets of an installation: each made once, by chance, and kept.
struct NewSecrets {
    let folder: InstallationFolder
    let sources: String

    /// Of 192 bits: nobody tries them all, and they need no quotes anywhere.
    private static let byteCount = 24
    private static let passwords = [
        "postgres-admin-password", "postgres-qoe-password", "postgres-reader-password",
        "postgres-replication-password", "nats-ingest-password", "nats-aggregator-password",
        "nats-operator-password", "nats-route-password",
        "grafana-admin-password",
    ]
    /// The same secret for another reader.
    private static let copies = [
        ("qoe-postgres-password", "postgres-qoe-password"),
        ("grafana-postgres-password", "postgres-reader-password"),
    ]

    func make() throws {
        for name in Self.passwords {
            try ifMissing(name) { Array(Self.random().utf8) + [UInt8(ascii: "\n")] }
        }
        for (name, original) in Self.copies {
            try ifMissing(name) { try folder.read("secrets/\(original)") }
        }
        try ifMissing("nats-accounts.conf") {
            try filled("deploy/nats/accounts.conf.example") { "nats-\($0)-password" }
        }
        try ifMissing("nats-cluster.conf") {
            try filled("deploy/nats/cluster.conf.example") { _ in "nats-route-password" }
        }
        let tokens = "secrets/tokens/tokens.jsonl"
        if folder.has(tokens) {
            say("\(folder.file("secrets/tokens")): kept")
        } else {
            try folder.write("secrets/tokens/.keep", [])
            try? FileManager.default.removeItem(atPath: folder.file("secrets/tokens/.keep"))
            let token = try TokenFile.create(
                name: "operator", role: .fleetAdmin, in: folder.file(tokens))
            try folder.write("secrets/operator-token", Array("\(token)\n".utf8))
            say(
                "\(folder.file("secrets/tokens")): made, with a token of the role \(TokenRole.fleetAdmin.rawValue) "
                    + "in secrets/operator-token")
        }
    }

    private func ifMissing(_ name: String, _ content: () throws -> [UInt8]) throws {
        let path = "secrets/\(name)"
        if folder.has(path) {
            say("\(folder.file(path)): kept")
            return
        }
        try folder.write(path, content())
        say("\(folder.file(path)): made")
    }

    /// A file of the project in which `replace-me`, or `replace-me-NAME`, stands for passwords.
    private func filled(_ source: String, _ secret: (String) -> String) throws -> [UInt8] {
        let text = String(
            decoding: try InstallationFolder.read("\(sources)/\(source)"), as: UTF8.self)
        var result = "# Made by qoectl deploy init from \(source), which says what it is.\n"
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            // What the comments say is done.
            if line.drop(while: { $0 == " " }).hasPrefix("#") { continue }
            var rest = line[...]
            while let found = rest.firstRange(of: "replace-me") {
                result += rest[..<found.lowerBound]
                rest = rest[found.upperBound...]
                var name = ""
                if rest.hasPrefix("-") {
                    name = String(rest.dropFirst().prefix { $0.isLetter || $0 == "-" })
                    rest = rest.dropFirst(1 + name.count)
                }
                let path = "secrets/\(secret(name))"
                guard folder.has(path) else {
                    throw CommandFailure("\(source) wants \(path), which there is not")
                }
                result += String(decoding: try folder.read(path), as: UTF8.self).filter {
                    !$0.isWhitespace
                }
            }
            result += rest + "\n"
        }
        return Array(result.utf8)
    }

    private static func random() -> String {
        var generator = SystemRandomNumberGenerator()
        return (0..<byteCount).map { _ in
            let digits = String(UInt8.random(in: 0...255, using: &generator), radix: 16)
            return digits.count == 1 ? "0\(digits)" : digits
        }.joined()
    }
}

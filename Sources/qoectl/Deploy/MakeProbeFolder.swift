import ArgumentParser
import Deployment
import Foundation
import IngestCore

struct MakeProbeFolder: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "probe",
        abstract: "Makes the folder that whoever runs a probe receives.",
        discussion: """
              qoectl deploy probe berlin-7 --target https://www.example.com --target 'tcp://192.0.2.1:443'
            makes probes/berlin-7/ in the installation's folder (docker-compose.probe.yml, .env.probe, probe-token, \
            ca.pem), and probes/berlin-7.tar with the owners that the container wants. The token is made once; to take \
            it back: qoectl token revoke, then qoectl deploy apply --only ingest. Ingest knows a new one after qoectl \
            deploy apply --only ingest.

            A probe of the hosts file gets its folder by qoectl deploy init, and is started by qoectl deploy apply.

            Exit codes: 0; 1 something could not be made; 64 wrong usage; 78 something is wrong with the hosts file.
            """)

    @Argument(help: "The probe's name in all its data.")
    var name: String

    @OptionGroup var installation: InstallationOptions

    @Option(
        name: .customLong("target"),
        help: ArgumentHelp(
            "What to measure; may be repeated.",
            discussion:
                "Without it, the variable QOE_TARGETS of the settings, else the door of ingest."))
    var targets: [String] = []

    @Option(
        help: ArgumentHelp(
            "Where to post.",
            discussion: "Without it, the variable QOE_INGEST_URL of the settings, else the "
                + "addresses of balancer or ingest.", valueName: "urls"))
    var ingestUrl: String?

    func validate() throws {
        guard NewProbe.isName(name) else {
            throw ValidationError(
                "'\(name)' is no name for a probe: letters, digits, points, hyphens and underscores, at most 128"
            )
        }
    }

    func run() throws {
        let inventory = try installation.inventory()
        try interruptibly { _ in
            var new = NewProbe(
                folder: installation.folder, sources: installation.sources, name: name)
            new.inventory = inventory
            new.targets = targets.isEmpty ? nil : targets.joined(separator: ",")
            new.ingestURL = ingestUrl
            try new.make()
        }
    }
}

/// A probe's folder in that of the installation.
struct NewProbe {
    let folder: InstallationFolder
    let sources: String
    let name: String
    var inventory: Inventory?
    var targets: String?
    var ingestURL: String?

    private static let owner: UInt32 = 65_532

    init(folder: InstallationFolder, sources: String, name: String) {
        self.folder = folder
        self.sources = sources
        self.name = name
    }

    static func isName(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count) && !text.hasPrefix(".") && !text.hasPrefix("-")
            && text.utf8.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                    || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                    || "._-".utf8.contains(byte)
            }
    }

    func make() throws {
        let own = "probes/\(name)"
        guard folder.has("secrets/tokens/tokens.jsonl"), folder.has("certs/ca.pem") else {
            throw CommandFailure(
                "\(folder.path) is not complete; qoectl deploy init makes what it lacks")
        }
        var made: [String] = []
        func put(_ file: String, _ bytes: [UInt8], mode: Int) throws {
            if folder.has("\(own)/\(file)"), try folder.read("\(own)/\(file)") == bytes { return }
            try folder.write("\(own)/\(file)", bytes, mode: mode)
            made.append(file)
        }
        if !folder.has("\(own)/probe-token") {
            let token = try TokenFile.create(
                name: name, role: .probe, clients: [name],
                in: folder.file("secrets/tokens/tokens.jsonl"))
            try put("probe-token", Array("\(token)\n".utf8), mode: 0o400)
        }
        try put("ca.pem", try folder.read("certs/ca.pem"), mode: 0o644)
        let compose = try InstallationFolder.read("\(sources)/docker-compose.probe.yml")
        try put("docker-compose.probe.yml", compose, mode: 0o644)
        // The customer's own changes are kept.
        if !folder.has("\(own)/.env.probe") || targets != nil || ingestURL != nil {
            try put(".env.probe", Array(try variables().utf8), mode: 0o600)
        }
        let files = try [".env.probe", "ca.pem", "docker-compose.probe.yml", "probe-token"].map {
            file in
            RenderedFile(
                "\(name)/\(file)", try folder.read("\(own)/\(file)"),
                mode: file == "probe-token" ? 0o400 : file == ".env.probe" ? 0o600 : 0o644,
                owner: file == "probe-token" ? Self.owner : 0)
        }
        let archive = TarArchive.bytes(files)
        let path = "probes/\(name).tar"
        let isKept = try folder.has(path) && folder.read(path) == archive
        if !isKept { try folder.write(path, archive) }
        say(
            "\(folder.file(own))/ and .tar: "
                + (made.isEmpty && isKept
                    ? "kept"
                    : "made \(made.isEmpty ? "the archive" : made.joined(separator: ", "))"))
    }

    private func variables() throws -> String {
        let material = try folder.material(sources: sources)
        var settings = material.settings
        settings.merge(material.machineSettings[name] ?? [:]) { $1 }
        let machines = inventory?.machines ?? []
        let doors = machines.filter { $0.has(.balancer) }
        let ingests = machines.filter { $0.has(.ingest) }
        func host(_ machine: Machine) -> String {
            machine.address.family == .ipv6 ? "[\(machine.address)]" : machine.address.text
        }
        let addresses =
            doors.isEmpty
            ? ingests.map { "https://\(host($0)):8080" } : doors.map { "https://\(host($0))" }
        guard let first = (doors + ingests).first else {
            throw CommandFailure("the hosts file names no ingest machine for the probe to post to")
        }
        let door = "tcp://\(host(first)):\(doors.isEmpty ? 8080 : 443)"
        var values = [
            "QOE_CLIENT_ID": name,
            "QOE_INGEST_URL": ingestURL ?? settings["QOE_INGEST_URL"]
                ?? addresses.joined(separator: ","),
            "QOE_TARGETS": targets ?? settings["QOE_TARGETS"] ?? door,
            "QOE_TOKEN_FILE": "./probe-token", "QOE_CA_FILE": "/etc/qoe/ca.pem",
            "PROBE_CA_FILE": "./ca.pem",
        ]
        for name in ["QOE_IMAGE", "QOE_INTERVAL", "QOE_REGION", "QOE_NETWORK_TYPE"] {
            values[name] = settings[name]
        }
        return "# docker compose --env-file .env.probe -f docker-compose.probe.yml up -d\n"
            + SettingsFile.text(values)
    }
}

import ArgumentParser
import Deployment
import Foundation
import OperatorCore

struct RestoreDeployment: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Makes an installation of a backup, on machines on which there is none.",
        discussion: """
              qoectl deploy restore /backups/qoe-2026-11-21 --installation restored
              qoectl deploy restore /backups/qoe-2026-11-21 --installation restored --hosts new-hosts
            Fills the installation's folder from the backup (with --hosts the machines are others, and get \
            certificates of the same authority), starts the storage and the NATS nodes, fills the empty database, and \
            starts the rest. Probes go on with their tokens; when ingest has another address, they must be told. Images \
            that the machines cannot pull belong into images/ of the folder first.

            It stops at the first failure, and the same command goes on from there. A database that is not empty is \
            left alone. Files of the folder that are there already stay as they are.

            Exit codes: 0; 1 something failed; 64 wrong usage; 78 something is wrong with the hosts file.
            """)

    @Argument(help: "The folder that qoectl deploy backup has made.")
    var path: String

    @OptionGroup var fleet: FleetOptions

    @Option(
        help: ArgumentHelp("A hosts file with other machines of the same roles.", valueName: "path")
    )
    var hosts: String?

    /// Notes the digest of the archive that is in the database, so that the command can be run again.
    private static let note = "deployed/restored"

    func run() throws {
        let backup = BackupFolder(path: path)
        guard FileManager.default.fileExists(atPath: backup.file(BackupManifest.fileName)) else {
            throw ValidationError(
                "\(path) is no backup: it has no \(BackupManifest.fileName); qoectl deploy backup makes one"
            )
        }
        let folder = fleet.installation.folder
        if let hosts {
            var options = HostsOptions()
            options.hosts = hosts
            _ = try options.inventory()
        }
        try interruptibly { stop in
            try folder.whileLocked(for: "restore") { try restore(backup, stop) }
        }
    }

    private func restore(_ backup: BackupFolder, _ stop: StopRequest) throws {
        let folder = fleet.installation.folder
        let manifest = try backup.checked()
        say("\(path): \(manifest.entries.count) files, all as they were written")
        if let hosts, !folder.has("hosts") {
            try folder.write("hosts", try InstallationFolder.read(hosts), mode: 0o644)
        }
        try backup.fill(folder, manifest)
        let inventory = try fleet.installation.inventory()
        try makeCertificates(
            inventory, folder.certificates, folder.certificates.readAuthority(), isForced: false
        )
        let run = FleetRun(fleet: fleet, inventory: inventory, stop: stop)
        try run.lockingMachines(inventory.machines, for: "restore") { run in
            try run.apply(to: inventory.machines, phases: [.storage, .nats])
            try fill(inventory, backup, manifest, stop)
            try run.apply(to: inventory.machines, phases: Phase.allCases)
            try compareStreams(inventory, backup, stop)
        }
        say("restored: qoectl deploy status shows what runs")
    }

    private func fill(
        _ inventory: Inventory, _ backup: BackupFolder, _ manifest: BackupManifest,
        _ stop: StopRequest
    ) throws {
        let folder = fleet.installation.folder
        guard
            let archive = manifest.entries.first(where: { $0.path == BackupManifest.databaseFile })
        else { return }
        let digest = Array("\(archive.digest)\n".utf8)
        if let known = try? folder.read(Self.note), known == digest {
            say("database: restored before")
            return
        }
        let copy = DatabaseCopy(shell: fleet.remote.shell(isStopped: stop.asClosure))
        guard
            let place = DatabaseCopy.places(inventory).first(where: {
                $0.service.service.role == .postgresPrimary
            })
        else { throw CommandFailure("the hosts file names no postgres-primary") }
        let state = try copy.state(of: place)
        guard !state.isReplica else {
            throw CommandFailure(
                "\(place.service.name) is a replica: this is no new installation")
        }
        guard state.isEmpty else {
            throw CommandFailure(
                "the database on \(place.machine.name) (\(place.machine.address)) is not empty, and is left alone; "
                    + "qoectl deploy down --delete-data makes room, on the machines of this hosts file"
            )
        }
        let start = ContinuousClock.now
        try copy.restore(backup.file(BackupManifest.databaseFile), to: place)
        try folder.write(Self.note, digest)
        say(
            "database: \(byteText(Int64(archive.byteCount))) restored in "
                + seconds(ContinuousClock.now - start)
                + ", counted until "
                + (try copy.state(of: place).flushedAt ?? "nothing was counted"))
    }

    private func compareStreams(
        _ inventory: Inventory, _ backup: BackupFolder, _ stop: StopRequest
    ) throws {
        let shell = fleet.remote.shell(isStopped: stop.asClosure)
        let before = try StreamList(
            json: try InstallationFolder.read(backup.file(BackupManifest.streamsFile)))
        guard let page = try StreamList.page(inventory, shell) else { return }
        for difference in before.differences(try StreamList(page: page)) {
            complain("warning: stream \(difference)")
        }
    }
}

import ArgumentParser
import Deployment
import Foundation
import OperatorCore

struct BackupDeployment: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Copies what an installation cannot do without into a folder, while it runs.",
        discussion: """
              qoectl deploy backup /backups/qoe-$(date +%F)
            The folder gets the database (pg_dump in the container of the replica, else of the primary), the \
            configuration of the streams, and the installation's folder: hosts, settings, secrets, tokens, \
            certificates and the authority's key. It gets its name when it is complete. **Whoever has it has \
            the installation**: keep it encrypted, and elsewhere.

            What the streams hold and nobody has counted yet is not in it: it is as old as the newest flush, which \
            is said. For a database of tens of gigabytes see docs/operating-the-database.md.

            Exit codes: 0; 1 when it failed, and then nothing is left of it; 64 wrong usage; 78 something is wrong \
            with the hosts file.
            """)

    @Argument(help: "The folder to make.")
    var path: String

    @OptionGroup var installation: InstallationOptions

    @OptionGroup var remote: RemoteOptions

    @Option(
        help: ArgumentHelp(
            "Copy from this server: postgres-primary or postgres-replica.", valueName: "name"))
    var from: String?

    func run() throws {
        let inventory = try installation.inventory()
        var places = DatabaseCopy.places(inventory)
        if let from {
            places = places.filter { $0.service.name == from }
            if places.isEmpty { throw ValidationError("no database server is called \(from)") }
        }
        guard !FileManager.default.fileExists(atPath: path) else {
            throw ValidationError("\(path) exists; name a folder that does not")
        }
        try interruptibly { stop in
            let shell = remote.shell(isStopped: stop.asClosure)
            let draft = BackupFolder(path: "\(path).partial-\(getpid())")
            try draft.make()
            var isDone = false
            defer { if !isDone { try? FileManager.default.removeItem(atPath: draft.path) } }
            var entries = try draft.take(installation.folder)
            entries.append(try streams(inventory, shell, into: draft))
            entries.append(try database(places, shell, into: draft))
            try draft.finish(BackupManifest(entries), as: path)
            isDone = true
            say("\(path): \(entries.count) files, \(byteText(Int64(entries.byteCount)))")
        }
    }

    private func streams(
        _ inventory: Inventory, _ shell: any MachineShell, into draft: BackupFolder
    ) throws -> BackupManifest.Entry {
        guard let page = try StreamList.page(inventory, shell) else {
            throw CommandFailure("the hosts file names no NATS node")
        }
        let list = try StreamList(page: page)
        if list.streams.isEmpty { complain("warning: there are no streams yet") }
        return try draft.write(BackupManifest.streamsFile, list.json)
    }

    private func database(
        _ places: [DatabaseCopy.Place], _ shell: any MachineShell, into draft: BackupFolder
    ) throws -> BackupManifest.Entry {
        let copy = DatabaseCopy(shell: shell)
        var last: (any Error)?
        for place in places {
            do {
                let state = try copy.state(of: place)
                if state.isEmpty {
                    throw CommandFailure(
                        "\(place.service.name) has no tables yet: qoectl deploy apply makes them")
                }
                let entry = try draft.write(BackupManifest.databaseFile) { onOutput in
                    try copy.dump(place, onOutput: onOutput)
                }
                say(
                    "database from \(place.service.name), counted until "
                        + (state.flushedAt ?? "nothing was counted yet"))
                return entry
            } catch {
                if let error = error as? RemoteError, error.code == .stopped { throw error }
                if place.service != places.last?.service { complain("warning: \(error)") }
                last = error
            }
        }
        throw last ?? CommandFailure("the hosts file names no database")
    }
}

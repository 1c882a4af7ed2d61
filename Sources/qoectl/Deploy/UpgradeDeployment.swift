import ArgumentParser
import Deployment
import Foundation

struct UpgradeDeployment: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upgrade",
        abstract: "Gives the programs a new image, one service at a time.",
        discussion: """
              qoectl deploy upgrade --image-archive qoe-1.3.tar
              qoectl deploy upgrade --image registry.example.com/qoe:1.3
            The schema is migrated first, with the new image; then aggregators, diagnosers, ingest and probes are \
            replaced one after the other, each when the one before is healthy. The image becomes QOE_IMAGE in \
            settings.env, so that apply keeps it. When a service does not become healthy, all others stay as they \
            are: the same command goes on, and --image with the old name goes back.

            Exit codes: 0; 1 something failed; 64 wrong usage; 78 something is wrong with the hosts file.
            """)

    @OptionGroup var fleet: FleetOptions

    @Option(
        help: ArgumentHelp(
            "The image's name; the machines pull it unless images/ has it.", valueName: "name"))
    var image: String?

    @Option(
        help: ArgumentHelp(
            "An archive of docker save; it is copied into images/.", valueName: "path"))
    var imageArchive: String?

    @Flag(help: "Show what would be done, and do nothing.")
    var dryRun = false

    func validate() throws {
        if let image, image.isEmpty || image.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F }) {
            throw ValidationError("--image '\(image)' is no image's name")
        }
    }

    func run() throws {
        let inventory = try fleet.installation.inventory()
        try interruptibly { stop in
            let run = FleetRun(fleet: fleet, inventory: inventory, stop: stop)
            if dryRun {
                try upgrade(run)
            } else {
                try run.alone("upgrade", on: inventory.machines, upgrade)
            }
        }
    }

    private func upgrade(_ run: FleetRun) throws {
        let folder = fleet.installation.folder
        var name = image
        if let imageArchive {
            let archive = try ImageArchive(reading: imageArchive)
            guard name ?? archive.names.first != nil, archive.names.count == 1 || name != nil
            else {
                throw CommandFailure(
                    "\(imageArchive) has \(archive.names.joined(separator: ", ")); say which with --image"
                )
            }
            name = name ?? archive.names.first
            if let name, archive.identities[MachineChanges.tagged(name)] == nil {
                throw CommandFailure(
                    "\(imageArchive) has no \(name), but \(archive.names.joined(separator: ", "))"
                )
            }
            if !dryRun { try adopt(imageArchive, into: folder) }
        }
        var run = run
        if let name {
            run.settings["QOE_IMAGE"] = name
            if !dryRun { try set("QOE_IMAGE", to: name, in: folder) }
        }
        try run.apply(
            to: run.inventory.machines, phases: [.processing, .ingest, .probes],
            isDryRun: dryRun)
    }

    private func adopt(_ archive: String, into folder: InstallationFolder) throws {
        let files = FileManager.default
        let source = URL(fileURLWithPath: archive).standardizedFileURL
        let target = URL(fileURLWithPath: folder.file("images"))
            .appending(path: source.lastPathComponent).standardizedFileURL
        guard source != target else { return }
        do {
            try files.createDirectory(
                at: target.deletingLastPathComponent(), withIntermediateDirectories: true)
            let new = target.appendingPathExtension("new")
            try? files.removeItem(at: new)
            try files.copyItem(at: source, to: new)
            guard rename(new.path, target.path) == 0 else {
                throw CommandFailure(String(cString: strerror(errno)))
            }
        } catch {
            throw CommandFailure("\(archive) cannot be copied to \(target.path): \(error)")
        }
    }

    /// Replaces one variable of settings.env; all other lines stay.
    private func set(_ name: String, to value: String, in folder: InstallationFolder) throws {
        let text =
            folder.has("settings.env")
            ? String(decoding: try folder.read("settings.env"), as: UTF8.self) : ""
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        while lines.last == "" { lines.removeLast() }
        let line = "\(name)=\(value)"
        if let index = lines.lastIndex(where: { $0.hasPrefix("\(name)=") }) {
            if lines[index] == line { return }
            lines[index] = line
        } else {
            lines.append(line)
        }
        try folder.write(
            "settings.env", Array((lines.joined(separator: "\n") + "\n").utf8))
        say("\(folder.settingsFile): \(line)")
    }
}

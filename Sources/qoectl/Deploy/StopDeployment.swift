import ArgumentParser
import Deployment
import Foundation

struct StopDeployment: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "down",
        abstract: "Stops everything, in the reverse order of the start; keeps all data.",
        discussion: """
            apply starts it again. With --delete-data, the database, the streams, all volumes and files of the \
            installation are removed from its machines for ever; it asks for the name of the installation's folder \
            first. The folder itself stays, with its secrets.

            Exit codes: 0; 1 something failed; 64 wrong usage; 78 something is wrong with the hosts file.
            """)

    @OptionGroup var fleet: FleetOptions

    @Flag(help: "Remove all data and files from the machines.")
    var deleteData = false

    @Option(
        help: ArgumentHelp(
            "With --delete-data, instead of being asked: the name of the installation's folder.",
            valueName: "name"))
    var confirm: String?

    func validate() throws {
        if confirm != nil, !deleteData {
            throw ValidationError("--confirm is for --delete-data")
        }
    }

    func run() throws {
        let inventory = try fleet.installation.inventory()
        try interruptibly { stop in
            let folder = fleet.installation.folder
            if deleteData { try makeSure(folder.name) }
            let run = FleetRun(fleet: fleet, inventory: inventory, stop: stop)
            // Also what the hosts file does not name any more.
            var services = run.deployed
            for machine in inventory.machines { services.add(machine) }
            try run.alone("down", on: services.machines) { try end(services.machines, $0) }
        }
    }

    private func end(_ machines: [Machine], _ run: FleetRun) throws {
        try run.requireLock()
        let folder = fleet.installation.folder
        let progress = run.progress
        defer { progress.end() }
        var stopping = FleetStop(shell: run.shell, folder: try fleet.remoteFolder.folder)
        stopping.onEvent = { progress.show($0) }
        try stopping.stop(machines)
        progress.end()
        guard deleteData else {
            say("all is stopped; qoectl deploy apply starts it again")
            return
        }
        let material = try folder.material(sources: fleet.installation.sources)
        let rendered = try FleetRendering(run.inventory, material).machines()
        for machine in machines {
            let data = rendered.first { $0.machine.address == machine.address }?.dataFolders
            try stopping.clear(
                machine, dataFolders: (data ?? []).map(\.path), removesVolumes: true)
            say("\(machine.address): data and files removed")
        }
        try? FileManager.default.removeItem(atPath: folder.deployed)
    }

    private func makeSure(_ name: String) throws {
        var answer = confirm
        if answer == nil {
            say(
                "This removes all measurements and results of \(name) from its machines, for ever. To go on, write its "
                    + "name: ", terminator: "")
            answer = readLine()
        }
        guard answer == name else {
            throw CommandFailure("that is not '\(name)'; nothing was done")
        }
    }
}

import ArgumentParser
import Deployment
import Foundation
import OperatorCore

struct ApplyDeployment: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply",
        abstract: "Brings all machines to what the installation's folder says.",
        discussion: """
            Asks all machines first, and changes nothing when something stands in the way. Then each gets its \
            files, its lines in /etc/hosts and the images of images/ that it lacks; then the phases are started one \
            after the other, each when the one before is healthy: storage, nats, processing (the schema first), \
            ingest, probes, monitoring. What runs already is started anew only if its own settings, files or image \
            changed, and then one service at a time. It stops at the first failure; the same command goes on from \
            there. When nothing is to be done, it says so.

            Exit codes: 0; 1 something failed; 64 wrong usage; 78 something is wrong with the hosts file.
            """)

    @OptionGroup var fleet: FleetOptions

    @OptionGroup var machines: MachineOptions

    @Option(
        help: ArgumentHelp(
            "Only this phase; may be repeated: \(Phase.allCases.map(\.rawValue).joined(separator: ", ")).",
            valueName: "phase"))
    var only: [Phase] = []

    @Flag(help: "Show what would be done, and do nothing.")
    var dryRun = false

    func run() throws {
        let inventory = try fleet.installation.inventory()
        let chosen = try machines.chosen(of: inventory)
        try interruptibly { stop in
            let run = FleetRun(fleet: fleet, inventory: inventory, stop: stop)
            try run.apply(
                to: chosen, phases: only.isEmpty ? Phase.allCases : only, isDryRun: dryRun)
            let left = run.deployed.leftovers(inventory).flatMap(\.services)
            if !left.isEmpty {
                complain(
                    "warning: \(left.map(\.name).joined(separator: ", ")) still run, and the hosts file does not "
                        + "name them there any more; qoectl deploy scale stops them")
            }
        }
    }
}

extension Phase: ExpressibleByArgument {}

/// What several commands do to the machines.
struct FleetRun {
    let fleet: FleetOptions
    let inventory: Inventory
    let stop: StopRequest
    var settings: [String: String] = [:]
    let progress = DeploymentProgress()

    init(fleet: FleetOptions, inventory: Inventory, stop: StopRequest) {
        self.fleet = fleet
        self.inventory = inventory
        self.stop = stop
    }

    private var folder: InstallationFolder { fleet.installation.folder }

    /// What was started where.
    var deployed: DeployedServices { DeployedServices(folder.deployedText) }

    func note(_ change: (inout DeployedServices) -> Void) throws {
        var services = deployed
        change(&services)
        try folder.write("deployed/services", Array(services.text.utf8))
    }

    func apply(to chosen: [Machine], phases: [Phase], isDryRun: Bool = false) throws {
        defer { progress.end() }
        let deployment = try fleet.deployment(
            inventory, chosen: chosen, settings: settings, stop, progress)
        let count = deployment.machines.count
        guard count > 0 else {
            say("nothing of ours runs there")
            return
        }
        let changes = try deployment.ask()
        if isDryRun {
            show(changes, phases)
            return
        }
        let concerned = changes.filter { change in
            change.starts.contains { phases.contains($0.service.phase) }
        }
        if concerned.allSatisfy({ $0.isNothing(in: phases) }) {
            let services = concerned.flatMap(\.starts).filter { phases.contains($0.service.phase) }
            say(
                "nothing to do: \(services.count) containers on \(concerned.count) machine\(concerned.count == 1 ? "" : "s") "
                    + "run as they shall")
            for change in concerned {
                // Also when somebody has lost the notes.
                if let files = deployment.machines.first(where: { $0.machine == change.machine }) {
                    try folder.note(files)
                }
            }
        } else {
            say(
                "\(concerned.count) machine\(concerned.count == 1 ? "" : "s") asked, nothing stands in the way"
            )
            try note { for change in concerned { $0.add(change.machine) } }
            let started = try deployment.apply(changes, phases: phases)
            progress.end()
            say("done: \(started) container\(started == 1 ? "" : "s") started")
        }
        try note { for change in concerned { $0.add(change.machine) } }
        try folder.write("deployed/hosts", try folder.read("hosts"), mode: 0o644)
    }

    private func show(_ changes: [MachineChanges], _ phases: [Phase]) {
        var isNothing = true
        for change in changes {
            let lines = change.lines(in: phases)
            if lines.isEmpty { continue }
            isNothing = false
            say("\(change.machine.name) (\(change.machine.address))")
            for line in lines { say("  \(line)") }
        }
        say(isNothing ? "nothing would be done" : "nothing was done: this was a dry run")
    }
}

extension InstallationFolder {
    var deployedText: String {
        (try? read("deployed/services")).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}

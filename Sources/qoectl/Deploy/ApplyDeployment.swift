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
            let phases = only.isEmpty ? Phase.allCases : only
            if dryRun {
                try run.apply(to: chosen, phases: phases, isDryRun: true)
            } else {
                try run.alone("apply", on: chosen) { try $0.apply(to: chosen, phases: phases) }
            }
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
    let shell: RemoteShell
    private var lock: FleetLock?

    init(fleet: FleetOptions, inventory: Inventory, stop: StopRequest) {
        self.fleet = fleet
        self.inventory = inventory
        self.stop = stop
        shell = fleet.remote.shell(isStopped: stop.asClosure)
    }

    /// Calls `body` while nobody else changes the installation's folder or these machines.
    ///
    /// - Parameter command: What `qoectl deploy` is to do, as others are told.
    func alone(
        _ command: String, on machines: [Machine], _ body: (FleetRun) throws -> Void
    ) throws {
        try folder.whileLocked(for: command) {
            try lockingMachines(machines, for: command, body)
        }
    }

    /// The same without the folder.
    func lockingMachines(
        _ machines: [Machine], for command: String, _ body: (FleetRun) throws -> Void
    ) throws {
        var run = self
        let lock = try FleetLock.take(
            machines.filter { !$0.composeServices.isEmpty }, shell,
            holder: InstallationFolder.holder(of: command))
        defer { lock.release() }
        run.lock = lock
        do {
            try body(run)
        } catch {
            progress.end()
            if stop.wasGiven { complain(progress.interruption) }
            throw error
        }
    }

    /// Who could not be locked must not be changed; who cannot be reached will not be.
    func requireLock() throws {
        let failure = lock?.failures.first { ![.unreachable, .timedOut].contains($0.code) }
        if let failure { throw failure }
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
            inventory, chosen: chosen, settings: settings, shell, progress)
        let count = deployment.machines.count
        guard count > 0 else {
            say("nothing of ours runs there")
            return
        }
        let changes: [MachineChanges]
        do throws(DeploymentFailure) {
            changes = try deployment.ask()
        } catch {
            if stop.wasGiven { throw error }
            for problem in error.problems { complain(problem) }
            throw CommandFailure(
                "nothing was changed: \(error.problems.count) problem\(error.problems.count == 1 ? "" : "s"), above. "
                    + "apply --machine NAME is for those without any")
        }
        if isDryRun {
            show(changes, phases)
            return
        }
        try requireLock()
        warn(changes)
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
                try folder.note(change.wanted)
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

    private func warn(_ changes: [MachineChanges]) {
        for change in changes {
            for text in change.warnings { complain("\(change.machine.name): warning: \(text)") }
        }
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
        if let line = MachineChanges.migration(changes, in: phases) {
            isNothing = false
            say(line)
        }
        warn(changes)
        say(isNothing ? "nothing would be done" : "nothing was done: this was a dry run")
    }
}

extension InstallationFolder {
    var deployedText: String {
        (try? read("deployed/services")).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}

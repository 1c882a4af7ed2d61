import ArgumentParser
import Deployment
import Foundation

struct ScaleDeployment: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scale",
        abstract: "Starts what the hosts file has more, and stops what it names no more.",
        discussion: """
            First the same as apply, so that the balancer and Prometheus know who is there; then what ran after the \
            last apply and is not in the hosts file any more is stopped, with the time that it needs to drain: \
            aggregators, diagnosers, ingest, balancers, probes and monitoring. A machine of which nothing is left \
            loses its files and its lines in /etc/hosts. Database and NATS nodes hold data, and are not taken away \
            like that.

            Exit codes: 0; 1 something failed; 64 wrong usage; 78 something is wrong with the hosts file.
            """)

    @OptionGroup var fleet: FleetOptions

    @Flag(help: "Show what would be done, and do nothing.")
    var dryRun = false

    @Flag(help: "Forget machines that are to be left and cannot be reached any more.")
    var forgetUnreachable = false

    func run() throws {
        let inventory = try fleet.installation.inventory()
        try interruptibly { stop in
            let run = FleetRun(fleet: fleet, inventory: inventory, stop: stop)
            let leftovers = run.deployed.leftovers(inventory)
            let holding = leftovers.flatMap(\.services).filter {
                [.postgresPrimary, .postgresReplica, .nats].contains($0.role)
            }
            if !holding.isEmpty {
                throw CommandFailure(
                    "\(holding.map(\.name).joined(separator: ", ")) hold data and cannot be taken away by scale: put "
                        + "them back into the hosts file; docs/failures says how a database or a NATS node is replaced"
                )
            }
            if dryRun {
                try run.apply(to: inventory.machines, phases: Phase.allCases, isDryRun: true)
                for machine in leftovers {
                    let names = machine.services.map(\.name).joined(separator: ", ")
                    say("\(machine.address): \(names) would be stopped")
                }
                return
            }
            try run.alone("scale", on: inventory.machines) { run in
                try run.apply(to: inventory.machines, phases: Phase.allCases)
                for machine in leftovers { try take(machine, inventory, run) }
            }
        }
    }

    private func take(
        _ machine: Machine, _ inventory: Inventory, _ run: FleetRun
    ) throws {
        defer { run.progress.end() }
        let progress = run.progress
        var stopping = FleetStop(
            shell: run.shell, folder: try fleet.remoteFolder.folder)
        stopping.onEvent = { progress.show($0) }
        do {
            try stopping.shell.succeed("docker version > /dev/null", on: machine)
        } catch {
            guard forgetUnreachable else {
                throw CommandFailure(
                    "\(error); if the machine is gone for good: --forget-unreachable")
            }
            complain("\(machine): forgotten")
            try run.note { $0.remove(machine) }
            return
        }
        try stopping.stop([machine], staying: inventory.machines)
        if !inventory.machines.contains(where: { $0.address == machine.address }) {
            try stopping.clear(machine)
        }
        try run.note { $0.remove(machine) }
    }
}

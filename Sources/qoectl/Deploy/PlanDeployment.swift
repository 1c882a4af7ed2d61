import ArgumentParser
import Deployment
import OperatorCore

struct PlanDeployment: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Shows what will run where, in the order of the start.",
        discussion: """
            Reads the hosts file alone and changes nothing. The phases are started one after the \
            other. A port that another service of the same machine has is moved: ingest's metrics \
            to 9190 beside prometheus, postgres-replica to 5433 beside postgres-primary, jaeger's \
            OTLP to 14317 beside otel-collector. JSON also says who must reach whom.

            Exit codes: 0; 64 wrong usage; 78 something is wrong with the hosts file.
            """)

    @OptionGroup var hosts: HostsOptions

    @OptionGroup var machines: MachineOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let inventory = try hosts.inventory()
        let chosen = try machines.chosen(of: inventory)
        let wanted = Set(chosen)
        let steps = DeploymentPlan(inventory).steps.filter { wanted.contains($0.machine) }
        if json {
            try sayJSON(PlanDocument(inventory, chosen, steps))
        } else {
            say(lines(steps).joined(separator: "\n"))
        }
    }

    private func lines(_ steps: [DeploymentPlan.Step]) -> [String] {
        guard !steps.isEmpty else { return ["nothing of ours runs there"] }
        var table = TextTable([
            ("PHASE", .left), ("SERVICE", .left), ("MACHINE", .left), ("ADDRESS", .left),
            ("LISTENS", .left),
        ])
        var last: Phase?
        for step in steps {
            let ports = step.endpoints.map { "\($0.port) \($0.purpose)" }
            table.add([
                step.phase == last ? "" : step.phase.rawValue, step.service.name,
                step.machine.name, step.machine.address.text,
                ports.isEmpty ? "-" : ports.joined(separator: ", "),
            ])
            last = step.phase
        }
        let machineCount = Set(steps.map(\.machine)).count
        return table.lines + [
            "\(steps.count) services on \(machineCount) machine\(machineCount == 1 ? "" : "s")"
        ]
    }
}

/// A plan as JSON.
private struct PlanDocument: Encodable {
    struct Listener: Encodable {
        let port: UInt16
        let purpose: String
    }

    struct Step: Encodable {
        let phase: String
        let service: String
        let role: String
        let machine: String
        let listens: [Listener]
    }

    struct Host: Encodable {
        let name: String
        let address: String
        let services: [String]
        let other_names: [String]
    }

    struct Path: Encodable {
        /// Absent when it is anyone.
        let from: String?
        let to: String
        let address: String
        let port: UInt16
        let service: String
        let purpose: String
    }

    let machines: [Host]
    let steps: [Step]
    let reachability: [Path]
    let warnings: [String]

    init(_ inventory: Inventory, _ chosen: [Machine], _ steps: [DeploymentPlan.Step]) {
        machines = chosen.map { machine in
            Host(
                name: machine.name, address: machine.address.text,
                services: machine.services.map(\.name), other_names: machine.aliases)
        }
        self.steps = steps.map { step in
            Step(
                phase: step.phase.rawValue, service: step.service.name,
                role: step.service.role.rawValue, machine: step.machine.name,
                listens: step.endpoints.map { Listener(port: $0.port, purpose: $0.purpose) })
        }
        let wanted = Set(chosen)
        reachability = inventory.reachability.filter { reach in
            wanted.contains(reach.listener) || reach.caller.map(wanted.contains) == true
        }.map { reach in
            Path(
                from: reach.caller?.name, to: reach.listener.name,
                address: reach.listener.address.text, port: reach.endpoint.port,
                service: reach.endpoint.service.name, purpose: reach.endpoint.purpose)
        }
        warnings = inventory.warnings.map(\.message)
    }
}

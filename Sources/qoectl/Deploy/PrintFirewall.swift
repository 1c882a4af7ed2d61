import ArgumentParser
import Deployment
import OperatorCore

struct PrintFirewall: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "firewall",
        abstract: "Shows who may reach which port, or prints one machine's rules.",
        discussion: """
              qoectl deploy firewall                                        a table for people
              qoectl deploy firewall --machine nats-1 | ssh nats-1 sudo sh  puts it in force
              qoectl deploy firewall --machine nats-1 --format nftables     for nft -f

            The rules close the ports that our services listen on, on that machine, to all but those \
            who must reach them, and say nothing about any other port. What they let pass is still \
            subject to the machine's other rules. They go into a chain of their own (QOE, or the \
            table qoe of nftables), so to apply them twice changes nothing. Our containers use the \
            host's network, and so the rules hold for them; ports that Docker publishes from a \
            bridge pass INPUT by.

            Exit codes: 0; 64 wrong usage; 78 something is wrong with the hosts file.
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable {
        case iptables, nftables
    }

    @OptionGroup var hosts: HostsOptions

    @OptionGroup var machines: MachineOptions

    @Option(
        help: """
            With --machine: iptables, a shell script for both families, is the default; or nftables.
            """)
    var format: Format?

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        if format != nil, machines.machine == nil {
            throw ValidationError("--format is for one machine: name it with --machine NAME")
        }
        if format != nil, json { throw ValidationError("--format and --json exclude each other") }
    }

    func run() throws {
        let inventory = try hosts.inventory()
        let chosen = try machines.chosen(of: inventory)
        let all = chosen.map { FirewallRules(for: $0, in: inventory) }
        if json {
            try sayJSON(all.map(FirewallDocument.init))
        } else if machines.machine != nil, let rules = all.first {
            let text = format == .nftables ? rules.nftables : rules.iptablesScript
            say(text, terminator: "")
        } else {
            say(lines(inventory).joined(separator: "\n"))
        }
    }

    private func lines(_ inventory: Inventory) -> [String] {
        var table = TextTable([
            ("MACHINE", .left), ("ADDRESS", .left), ("PORT", .right), ("SERVICE", .left),
            ("FOR", .left), ("OPEN TO", .left),
        ])
        for machine in inventory.machines {
            let reaches = inventory.reaches(to: machine)
            for endpoint in PortTable.endpoints(of: machine, in: inventory) {
                let callers = reaches.filter { $0.endpoint == endpoint }.map { reach in
                    reach.caller == nil
                        ? "anyone" : reach.callingServices.map(\.name).joined(separator: " ")
                }
                table.add([
                    machine.name, machine.address.text, "\(endpoint.port)", endpoint.service.name,
                    endpoint.purpose, callers.isEmpty ? "nobody" : callers.joined(separator: ", "),
                ])
            }
        }
        let hasOperator = inventory.services.contains { $0.role == .operator }
        return table.lines
            + (hasOperator
                ? []
                : [
                    "",
                    "People reach what is open to nobody by ssh -L; a machine named operator in the hosts "
                        + "file may reach it.",
                ])
    }
}

/// A machine's rules as JSON.
private struct FirewallDocument: Encodable {
    struct Rule: Encodable {
        let port: UInt16
        /// Absent when it is anyone.
        let source: String?
        let action: String
        let reason: String
    }

    let machine: String
    let address: String
    let rules: [Rule]

    init(_ rules: FirewallRules) {
        machine = rules.machine.name
        address = rules.machine.address.text
        self.rules = rules.rules.map { rule in
            Rule(
                port: rule.port, source: rule.source?.text,
                action: rule.verdict == .pass ? "pass" : "drop", reason: rule.reason)
        }
    }
}

/// What may reach a machine's ports of ours.
///
/// It only narrows: of the ports that we listen on, those who must reach them pass on to whatever other rules
/// the machine has, and all others are dropped. Nothing is said about other ports, so SSH stays as it is.
/// The rules see what arrives for the machine's own sockets; so our containers use the host's network.
package struct FirewallRules: Sendable, Hashable {
    /// Connections to one port.
    package struct Rule: Sendable, Hashable {
        package enum Verdict: Sendable, Hashable {
            /// Not our business: the machine's other rules decide.
            case pass
            case drop
        }

        package let port: UInt16
        /// Nil is anyone, of either family.
        package let source: HostAddress?
        package let verdict: Verdict
        /// Who calls what: printable ASCII without quotes.
        package let reason: String
    }

    package let machine: Machine
    /// The first that fits decides. Of each port those who pass first, then the drop of all others.
    package let rules: [Rule]

    package init(for machine: Machine, in inventory: Inventory) {
        self.machine = machine
        let reaches = inventory.reaches(to: machine)
        rules = PortTable.endpoints(of: machine, in: inventory).flatMap { endpoint -> [Rule] in
            let what = "\(endpoint.service.name) \(endpoint.purpose)"
            let passing = reaches.filter { $0.endpoint == endpoint }.map { reach in
                let who = reach.callingServices.map(\.name).joined(separator: " ")
                return Rule(
                    port: endpoint.port, source: reach.caller?.address, verdict: .pass,
                    reason: "\(who.isEmpty ? "anyone" : who) to \(what)")
            }
            if endpoint.callers == .anyone { return passing }
            return passing + [
                Rule(port: endpoint.port, source: nil, verdict: .drop, reason: "others to \(what)")
            ]
        }
    }

    /// Those that concern packets of one family: a port that nobody of it may reach is still closed to it.
    package func rules(_ family: HostAddress.Family) -> [Rule] {
        rules.filter { $0.source.map { $0.family == family } ?? true }
    }
}

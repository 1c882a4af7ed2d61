extension Reading {
    /// Looks at the machines as a whole.
    mutating func check(_ machines: [Machine]) {
        checkRoles(machines)
        checkAddresses(machines)
        checkQuorum(machines)
        checkNumbers(machines)
        checkReplica(machines)
        checkPorts(machines)
    }

    private func count(_ role: Role, _ machines: [Machine]) -> Int {
        machines.reduce(0) { sum, machine in
            sum + machine.services.count { $0.role == role }
        }
    }

    private mutating func checkRoles(_ machines: [Machine]) {
        let needed: [(role: Role, name: String, purpose: String)] = [
            (.postgresPrimary, "postgres-primary", "the database"),
            (.nats, "nats-1", "the stream of events"),
            (.aggregator, "aggregator-1", "what counts events"),
            (.ingest, "ingest-1", "what takes events from probes"),
        ]
        for need in needed
        where !mistakenRoles.contains(need.role) && count(need.role, machines) == 0 {
            problems.append(
                HostsProblem("no \(need.name), \(need.purpose): add a line, or the name to a line"))
        }
        if count(.diagnoser, machines) == 0, !mistakenRoles.contains(.diagnoser) {
            problems.append(
                HostsProblem(.warning, "no diagnoser-1: nothing will name faults"))
        }
        if count(.postgresReplica, machines) == 0, machines.count > 1,
            !mistakenRoles.contains(.postgresReplica)
        {
            problems.append(
                HostsProblem(
                    .warning,
                    "no postgres-replica: with the primary's machine, all rows are lost that no backup "
                        + "has"))
        }
    }

    private mutating func checkAddresses(_ machines: [Machine]) {
        // A probe only calls out, and by a path of its own.
        let core = machines.filter { machine in
            machine.services.contains { $0.role != .probe && $0.role != .operator }
        }
        if machines.count > 1 {
            for machine in machines where machine.address.isLoopback {
                problems.append(
                    HostsProblem(
                        line: machine.line,
                        "\(machine.address) is the machine itself, so the others cannot reach "
                            + "\(machine.name) by it; give the address on their network"))
            }
        }
        guard let first = core.first,
            let other = core.first(where: { $0.address.family != first.address.family })
        else { return }
        problems.append(
            HostsProblem(
                line: other.line,
                "\(other.name) has an IPv\(other.address.family == .ipv4 ? 4 : 6) address and "
                    + "\(first.name) one of the other family, so they cannot reach each other; use "
                    + "one family for all"))
    }

    /// JetStream decides by a majority (Raft): more than half of its nodes must be there.
    private mutating func checkQuorum(_ machines: [Machine]) {
        guard !mistakenRoles.contains(.nats) else { return }
        let count = count(.nats, machines)
        switch count {
        case 0, 3, 5: break
        case 1:
            if machines.count > 1 {
                problems.append(
                    HostsProblem(
                        .warning,
                        "one NATS node: while its machine is away nothing is accepted, and with its "
                            + "disk all is lost that was not counted; three survive the loss of one"
                    ))
            }
        case 2, 4:
            problems.append(
                HostsProblem(
                    "\(count) NATS nodes go on without \(count / 2 - 1) of them, no more than \(count - 1) do: "
                        + "more than half must be there; name 1, 3 or 5"))
        default:
            problems.append(
                HostsProblem(
                    "\(count) NATS nodes: every write waits for more than half of them; name 1, 3 or 5"
                ))
        }
        for machine in machines {
            let nodes = machine.services.filter { $0.role == .nats }
            guard nodes.count > 1 else { continue }
            problems.append(
                HostsProblem(
                    line: machine.line,
                    "\(Self.list(nodes)) are one machine, \(machine.address): its loss takes more than "
                        + "one vote; give each node a machine of its own"))
        }
    }

    private mutating func checkNumbers(_ machines: [Machine]) {
        let services = machines.flatMap(\.services)
        for role in Role.allCases where role.naming == .numbered && !mistakenRoles.contains(role) {
            let numbers = Set(services.filter { $0.role == role }.compactMap(\.number))
            guard let last = numbers.max() else { continue }
            let missing = (1...last).filter { !numbers.contains($0) }
            guard let first = missing.first else { continue }
            let more = missing.count > 1 ? " and \(missing.count - 1) more" : ""
            problems.append(
                HostsProblem(
                    .warning,
                    "there is \(role.rawValue)-\(last) and no \(role.rawValue)-\(first)\(more): was a "
                        + "line forgotten?"))
        }
    }

    private mutating func checkReplica(_ machines: [Machine]) {
        for machine in machines where machine.has(.postgresPrimary) && machine.has(.postgresReplica)
        {
            problems.append(
                HostsProblem(
                    .warning, line: machine.line,
                    "postgres-replica is on the primary's machine: it is lost together with it"))
        }
    }

    private mutating func checkPorts(_ machines: [Machine]) {
        for machine in machines {
            var owners: [UInt16: Set<Service>] = [:]
            for endpoint in PortTable.endpoints(of: machine, isNamed: { _ in true })
            where endpoint.service.role != .nats {
                owners[endpoint.port, default: []].insert(endpoint.service)
            }
            // One line for two services, however many ports they share.
            var told: Set<Set<Service>> = []
            for (port, services) in owners.sorted(by: { $0.key < $1.key })
            where services.count > 1 && told.insert(services).inserted {
                problems.append(
                    HostsProblem(
                        line: machine.line,
                        "\(Self.list(services.sorted())) are one machine, \(machine.address), and all "
                            + "want its port \(port); give each a machine of its own"))
            }
        }
    }

    private static func list(_ services: [Service]) -> String {
        let names = services.map(\.name)
        guard let last = names.last, names.count > 1 else { return names.first ?? "" }
        return names.dropLast().joined(separator: ", ") + " and " + last
    }
}

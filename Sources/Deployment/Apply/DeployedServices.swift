/// Which services were started where, as the operator's folder keeps it.
package struct DeployedServices: Sendable, Equatable {
    private var addresses: [Service: HostAddress]

    /// Reads lines of a service and an address; what is neither is left out.
    package init(_ text: String) {
        addresses = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 2, let service = Service(String(words[0])),
                let address = HostAddress(String(words[1]))
            else { continue }
            addresses[service] = address
        }
    }

    package var isEmpty: Bool { addresses.isEmpty }

    package var text: String {
        addresses.sorted { $0.key < $1.key }.map { "\($0.key.name) \($0.value)\n" }.joined()
    }

    /// Notes what is about to be started on `machine`.
    ///
    /// One that ran elsewhere before stays noted there only as long as the name is not started anew: a service is
    /// stopped at its old place first, see ``leftovers(_:)``.
    package mutating func add(_ machine: Machine) {
        for service in machine.services where service.role.phase != nil {
            addresses[service] = machine.address
        }
    }

    package mutating func remove(_ machine: Machine) {
        for service in machine.services where addresses[service] == machine.address {
            addresses[service] = nil
        }
    }

    /// The machines that an inventory would have.
    package var machines: [Machine] {
        Dictionary(grouping: addresses) { $0.value }.map { address, entries in
            Machine(
                address: address, services: entries.map(\.key).sorted(), aliases: [], line: 0)
        }.sorted { $0.services.lexicographicallyPrecedes($1.services) }
    }

    /// What runs and is not in the inventory any more, or elsewhere.
    package func leftovers(_ inventory: Inventory) -> [Machine] {
        machines.compactMap { machine in
            let now = inventory.machines.first { $0.address == machine.address }
            let services = machine.services.filter { now?.services.contains($0) != true }
            return services.isEmpty
                ? nil
                : Machine(
                    address: machine.address, services: services, aliases: [], line: 0)
        }
    }
}

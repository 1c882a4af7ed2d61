/// Which services were started where, as the operator's folder keeps it.
package struct DeployedServices: Sendable, Equatable {
    private struct Place: Hashable {
        let service: Service
        let address: HostAddress
    }

    /// One that moves is at both its places until it is stopped at the old one.
    private var places: Set<Place> = []

    /// Reads lines of a service and an address; what is neither is left out.
    package init(_ text: String) {
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 2, let service = Service(String(words[0])),
                let address = HostAddress(String(words[1]))
            else { continue }
            places.insert(Place(service: service, address: address))
        }
    }

    package var isEmpty: Bool { places.isEmpty }

    package var text: String {
        places.map { ($0.service, $0.address.text) }.sorted { $0 < $1 }
            .map { "\($0.name) \($1)\n" }.joined()
    }

    /// Notes what is about to be started on `machine`.
    package mutating func add(_ machine: Machine) {
        for service in machine.services where service.role.phase != nil {
            places.insert(Place(service: service, address: machine.address))
        }
    }

    package mutating func remove(_ machine: Machine) {
        for service in machine.services {
            places.remove(Place(service: service, address: machine.address))
        }
    }

    /// The machines that an inventory would have.
    package var machines: [Machine] {
        Dictionary(grouping: places, by: \.address).map { address, entries in
            Machine(
                address: address, services: entries.map(\.service).sorted(), aliases: [], line: 0)
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

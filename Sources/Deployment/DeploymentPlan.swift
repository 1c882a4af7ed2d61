/// What is started where, and in which order.
package struct DeploymentPlan: Sendable, Hashable {
    /// A service in its place.
    package struct Step: Sendable, Hashable {
        package let phase: Phase
        package let service: Service
        package let machine: Machine
        /// In the order of the port table.
        package let endpoints: [Endpoint]
    }

    /// In the order of the start: by phase, within one by role and number.
    package let steps: [Step]

    package init(_ inventory: Inventory) {
        let placed = inventory.machines.flatMap { machine in
            let endpoints = PortTable.endpoints(of: machine, in: inventory)
            return machine.services.compactMap { service -> Step? in
                guard let phase = service.role.phase else { return nil }
                return Step(
                    phase: phase, service: service, machine: machine,
                    endpoints: endpoints.filter { $0.service == service })
            }
        }
        // Roles stand in the order of the phases.
        steps = placed.sorted { $0.service < $1.service }
    }
}

/// One machine that must reach a port of another.
package struct Reach: Sendable, Hashable {
    /// Nil stands for anyone.
    package let caller: Machine?
    /// What calls on the caller's machine; empty when it is anyone.
    package let callingServices: [Service]
    package let listener: Machine
    package let endpoint: Endpoint
}

extension Inventory {
    /// Who must reach whom, each pair of machines once for each port; nothing else need pass between them.
    ///
    /// Ordered by listener, port and caller.
    package var reachability: [Reach] { machines.flatMap(reaches) }

    /// What must reach `listener`.
    package func reaches(to listener: Machine) -> [Reach] {
        PortTable.endpoints(of: listener, in: self).flatMap { endpoint -> [Reach] in
            guard case .roles(let roles) = endpoint.callers else {
                return [
                    Reach(
                        caller: nil, callingServices: [], listener: listener, endpoint: endpoint)
                ]
            }
            return machines.compactMap { caller in
                let services = caller.services.filter { roles.contains($0.role) }
                // A machine reaches itself over loopback.
                guard caller != listener, !services.isEmpty else { return nil }
                return Reach(
                    caller: caller, callingServices: services, listener: listener,
                    endpoint: endpoint)
            }
        }
    }
}

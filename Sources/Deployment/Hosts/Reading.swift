/// A file on its way to an inventory.
struct Reading {
    private struct Place {
        let address: HostAddress
        let line: Int
    }

    private struct Draft {
        /// Of its first service.
        var line: Int?
        var services: Set<Service> = []
        var aliases: Set<String> = []
    }

    var problems: [HostsProblem]
    /// Roles that a misspelt name was meant for: what is said of them as a whole would mislead.
    private(set) var mistakenRoles: Set<Role> = []
    private var drafts: [HostAddress: Draft] = [:]
    private var places: [Service: Place] = [:]

    init(problems: [HostsProblem]) {
        self.problems = problems
    }

    mutating func take(_ entry: HostsFile.Entry) {
        var services: [Service] = []
        var aliases: [String] = []
        for name in entry.names {
            switch Service.meaning(of: name) {
            case .other: aliases.append(name)
            case .mistaken(let role, let advice):
                mistakenRoles.insert(role)
                problems.append(
                    HostsProblem(
                        line: entry.line,
                        "no role is called \(name): \(advice) (what is none of ours needs another name)"
                    ))
            case .service(let service):
                if let place = places[service], place.address != entry.address {
                    problems.append(
                        HostsProblem(
                            line: entry.line,
                            "\(name) is \(entry.address) here and \(place.address) in line "
                                + "\(place.line); keep one of the lines"))
                    continue
                }
                if places[service] == nil {
                    places[service] = Place(address: entry.address, line: entry.line)
                }
                services.append(service)
            }
        }
        if let kind = entry.address.kindWithoutMachine, !services.isEmpty {
            problems.append(
                HostsProblem(
                    line: entry.line,
                    "\(entry.address) is \(kind); give the address by which the others reach the "
                        + "machine"))
        }
        // A line without services, such as 127.0.0.1 localhost, may still be a machine's other names.
        var draft = drafts[entry.address, default: Draft()]
        if draft.line == nil, !services.isEmpty { draft.line = entry.line }
        draft.services.formUnion(services)
        draft.aliases.formUnion(aliases)
        drafts[entry.address] = draft
    }

    /// Those that have something of ours, in the order of the start.
    var machines: [Machine] {
        drafts.compactMap { address, draft -> Machine? in
            guard let line = draft.line else { return nil }
            return Machine(
                address: address, services: draft.services.sorted(),
                aliases: draft.aliases.sorted(), line: line)
        }
        .sorted { left, right in
            guard let first = left.services.first, let second = right.services.first else {
                return false
            }
            return first < second
        }
    }
}

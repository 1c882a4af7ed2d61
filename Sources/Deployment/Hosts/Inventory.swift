/// A machine of an installation: an address and what it is for.
package struct Machine: Sendable, Hashable {
    package let address: HostAddress
    /// In the order of the start; at least one.
    package let services: [Service]
    /// Its names that are no roles, such as one with a domain, in alphabetical order.
    package let aliases: [String]
    /// Where it first stands in the file.
    let line: Int

    /// The name by which we call it: that of its first service.
    package var name: String { services.first?.name ?? address.text }

    /// Whether `text` is one of its names or its address.
    package func isCalled(_ text: String) -> Bool {
        services.contains { $0.name == text } || aliases.contains(text)
            || HostAddress(text) == address
    }

    func has(_ role: Role) -> Bool { services.contains { $0.role == role } }
}

/// The machines of an installation, from a hosts file without errors.
package struct Inventory: Sendable, Hashable {
    /// In the order of the start of their first services, whatever the order of the lines.
    package let machines: [Machine]
    /// What the writer of the file may not want.
    package let warnings: [HostsProblem]

    /// Reads a hosts file: lines that are also good for `/etc/hosts`.
    ///
    /// A name says a role, an address is a machine. Names that look like none of ours are a machine's other
    /// names, and lines without any of ours are left alone.
    ///
    /// - Throws: ``HostsError`` with all that is wrong.
    package init(_ text: String) throws(HostsError) {
        let file = HostsFile(text)
        var reading = Reading(problems: file.problems)
        for entry in file.entries { reading.take(entry) }
        machines = reading.machines
        reading.check(machines)
        let problems = reading.problems.sorted {
            ($0.line ?? Int.max, $0.severity == .error ? 0 : 1, $0.message)
                < ($1.line ?? Int.max, $1.severity == .error ? 0 : 1, $1.message)
        }
        if problems.contains(where: { $0.severity == .error }) {
            throw HostsError(problems: problems)
        }
        warnings = problems
    }

    /// In the order of the start.
    package var services: [Service] { machines.flatMap(\.services).sorted() }

    /// The machine with that name or address.
    package func machine(called name: String) -> Machine? {
        machines.first { $0.isCalled(name) }
    }

    func machines(with role: Role) -> [Machine] { machines.filter { $0.has(role) } }

    func has(_ role: Role) -> Bool { machines.contains { $0.has(role) } }
}

/// A file on its way to an inventory.
struct Reading {
    private struct Place {
        let address: HostAddress
        let line: Int
    }

    private struct Draft {
        let line: Int
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
        if services.isEmpty, drafts[entry.address] == nil {
            // Such as 127.0.0.1 localhost. A later line may still make it a machine's other name.
            drafts[entry.address] = Draft(line: entry.line, aliases: Set(aliases))
            return
        }
        if let kind = entry.address.kindWithoutMachine, !services.isEmpty {
            problems.append(
                HostsProblem(
                    line: entry.line,
                    "\(entry.address) is \(kind); give the address by which the others reach the "
                        + "machine"))
        }
        drafts[entry.address, default: Draft(line: entry.line)].services.formUnion(services)
        drafts[entry.address]?.aliases.formUnion(aliases)
    }

    /// Those that have something of ours, in the order of the start.
    var machines: [Machine] {
        drafts.filter { !$0.value.services.isEmpty }
            .map { address, draft in
                Machine(
                    address: address, services: draft.services.sorted(),
                    aliases: draft.aliases.sorted(),
                    line: places.values.filter { $0.address == address }.map(\.line).min()
                        ?? draft.line)
            }
            .sorted { left, right in
                guard let first = left.services.first, let second = right.services.first else {
                    return false
                }
                return first < second
            }
    }
}

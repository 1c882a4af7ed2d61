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

    package func has(_ role: Role) -> Bool { services.contains { $0.role == role } }
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

    package func has(_ role: Role) -> Bool { machines.contains { $0.has(role) } }
}

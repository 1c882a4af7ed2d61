/// What stands in the way of an installation, or may later.
package struct PreflightFinding: Sendable, Hashable {
    package enum Severity: String, Sendable, Hashable { case error, warning }

    package let severity: Severity
    /// Nil when it concerns none alone.
    package let machine: String?
    /// What is wrong, and what to do about it.
    package let message: String

    package init(_ severity: Severity, _ machine: String?, _ message: String) {
        self.severity = severity
        self.machine = machine
        self.message = message
    }

    package var text: String {
        (machine.map { "\($0): " } ?? "") + (severity == .warning ? "warning: " : "") + message
    }
}

/// Judges what machines said.
package enum PreflightJudge {
    /// `docker compose` needs its API.
    static let dockerMin = [20, 10]
    /// The first with all that the commands of apply use.
    static let composeMin = [2, 20]
    /// Images, logs and the streams' first hours.
    static let freeKiBMin = 2 << 20
    /// What streams and database want in the long run.
    static let freeKiBAdvised = 16 << 20
    /// Leases and tokens end by the clock, and events that are this far ahead begin to be refused.
    static let clockErrorMilliseconds: UInt64 = 2_000
    static let clockWarningMilliseconds: UInt64 = 250
    /// For each service; less, and the kernel ends one of them.
    static let memoryKiBForService = 256 << 10

    /// What is wrong with a machine itself.
    package static func findings(
        _ machine: Machine, _ condition: MachineCondition, in inventory: Inventory,
        limits: [ResourceLimit] = []
    ) -> [PreflightFinding] {
        var found: [PreflightFinding] = []
        func error(_ message: String) { found.append(.init(.error, machine.name, message)) }
        func warning(_ message: String) { found.append(.init(.warning, machine.name, message)) }

        if let problem = RequiredCommands.problem(missing: condition.missingCommands) {
            // The rest of the answer means nothing.
            error(problem)
            return found
        }
        if let version = condition.dockerVersion {
            if !isAtLeast(version, dockerMin) {
                error("docker \(version) is too old; install \(text(dockerMin)) or newer")
            }
            if let compose = condition.composeVersion {
                if !isAtLeast(compose, composeMin) {
                    error(
                        "docker compose \(compose) is too old; install \(text(composeMin)) or newer"
                    )
                }
            } else {
                error("docker has no compose there; install compose 2 (docker-compose-plugin)")
            }
        } else {
            error(
                "docker does not answer there: \(condition.dockerProblem ?? "it said nothing"); install it (apt "
                    + "install docker.io) and start it")
        }
        for (folder, free) in condition.freeKiB.sorted(by: { $0.key < $1.key }) {
            if free < freeKiBMin {
                error(
                    "\(folder) has \(free / 1024) MiB free, and \(freeKiBMin / 1024) MiB are needed; make room"
                )
            } else if free < freeKiBAdvised, keepsData(machine) {
                warning(
                    "\(folder) has \(free >> 20) GiB free; streams and database may want \(freeKiBAdvised >> 20) GiB "
                        + "and more")
            }
        }
        let neededKiB = memoryKiBForService * machine.services.count
        if let memory = condition.memoryKiB, memory < neededKiB {
            warning(
                "\(memory / 1024) MiB of memory for \(machine.services.count) services; \(neededKiB / 1024) MiB are the "
                    + "least")
        }
        if let clock = condition.clock {
            let text =
                "its clock is \(clock.milliseconds.magnitude) ms \(clock.milliseconds < 0 ? "behind" : "ahead of") ours "
                + "(give or take \(clock.uncertaintyMilliseconds) ms); let chrony or systemd-timesyncd set it"
            if clock.certainMilliseconds >= clockErrorMilliseconds {
                error(text)
            } else if clock.certainMilliseconds >= clockWarningMilliseconds {
                warning(text)
            }
        }
        for problem in condition.capacity.problems(limits, on: machine) { error(problem) }
        for text in condition.capacity.warnings(limits) { warning(text) }
        for (port, user) in busy(machine, condition, in: inventory) {
            let owner = condition.owners[port].map { "\($0) has" } ?? "something has"
            error("\(owner) port \(port), which \(user); stop it")
        }
        return found
    }

    /// Ports of ours that another program has, and what ours needs them for.
    static func busy(
        _ machine: Machine, _ condition: MachineCondition, in inventory: Inventory
    ) -> [(port: UInt16, user: String)] {
        let running = machine.composeServices.filter { condition.containers.contains($0.key) }
        let ours = Set(running.map(\.service))
        let open = PortTable.endpoints(of: machine, in: inventory)
            .filter { !ours.contains($0.service) }
            .map { ($0.port, "\($0.service.name) needs for \($0.purpose)") }
        // Over loopback alone, and so in no table.
        let inner = machine.composeServices.filter { !running.contains($0) }.flatMap { service in
            service.loopbackPorts.map { ($0.port, "\(service.label) needs for \($0.purpose)") }
        }
        return (open + inner).filter { condition.listening.contains($0.0) }
    }

    private static func keepsData(_ machine: Machine) -> Bool {
        machine.services.contains {
            [.postgresPrimary, .postgresReplica, .nats].contains($0.role)
        }
    }

    static func isAtLeast(_ version: String, _ least: [Int]) -> Bool {
        let digits = version.drop { !$0.isNumber }
        let numbers =
            digits.split { !$0.isNumber && $0 != "." }.first?.split(separator: ".")
            .map { Int($0) ?? 0 } ?? []
        for (index, part) in least.enumerated() {
            let there = index < numbers.count ? numbers[index] : 0
            if there != part { return there > part }
        }
        return true
    }

    private static func text(_ version: [Int]) -> String {
        version.map(String.init).joined(separator: ".")
    }
}

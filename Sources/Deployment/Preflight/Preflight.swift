internal import Glibc

/// Whether a path is open.
package enum PathState: Sendable, Hashable {
    case open
    case closed(String)
    /// It was not tried, for this reason.
    case unknown(String)
}

/// A path that was tried.
package struct TriedPath: Sendable, Hashable {
    /// Nil for the machine where the command runs: it stands for people and for anyone.
    package let caller: Machine?
    package let listener: Machine
    package let endpoint: Endpoint
    package let state: PathState
}

/// What was found.
package struct PreflightReport: Sendable {
    package struct Entry: Sendable {
        package let machine: Machine
        /// Nil when it did not answer.
        package let condition: MachineCondition?
    }

    package let entries: [Entry]
    package let paths: [TriedPath]
    package let findings: [PreflightFinding]

    package var isGood: Bool { !findings.contains { $0.severity == .error } }
}

/// Looks whether an installation's machines are ready: asks each, and really connects along every path of the
/// inventory's table. Changes nothing that stays.
package struct Preflight: Sendable {
    private let inventory: Inventory
    private let shell: any MachineShell
    private let folder: RemoteFolder
    /// For limits that a machine cannot give; nil to leave that out.
    package var material: FleetMaterial?

    private static let clockRounds = 3

    package init(_ inventory: Inventory, _ shell: any MachineShell, folder: RemoteFolder) {
        self.inventory = inventory
        self.shell = shell
        self.folder = folder
    }

    package func run() throws(RemoteError) -> PreflightReport {
        // Where nothing of ours runs, nothing is to be looked at; people's machines need no sshd.
        let machines = inventory.machines.filter { !$0.composeServices.isEmpty }
        let asked = inParallel(machines) { machine in
            Result { () throws(RemoteError) in try ask(machine) }
        }
        var findings: [PreflightFinding] = []
        var conditions: [Machine: MachineCondition] = [:]
        for (machine, answer) in zip(machines, asked) {
            switch answer {
            case .success(let condition):
                conditions[machine] = condition
                findings += PreflightJudge.findings(
                    machine, condition, in: inventory,
                    limits: material.map { ResourceLimit.all(of: machine, $0) } ?? [])
            case .failure(let error):
                if error.code == .stopped { throw error }
                findings.append(.init(.error, nil, error.description))
            }
        }
        let paths = try tryPaths(conditions)
        findings += paths.compactMap(Self.finding)
        return PreflightReport(
            entries: machines.map { .init(machine: $0, condition: conditions[$0]) },
            paths: paths, findings: findings)
    }

    private func ask(_ machine: Machine) throws(RemoteError) -> MachineCondition {
        let script = PreflightScript(folders: ["/var/lib", folder.path])
        var condition = MachineCondition(try shell.succeed(script.text, on: machine).text)
        for _ in 0..<Self.clockRounds {
            let asked = Self.wallMilliseconds()
            let answer = try shell.succeed("date +%s.%N\n", on: machine).text
            let offset = ClockOffset(
                askedMilliseconds: asked, answeredMilliseconds: Self.wallMilliseconds(),
                answer: answer)
            guard let offset else { continue }
            // The shortest way there and back says it best.
            if offset.uncertaintyMilliseconds
                < condition.clock?.uncertaintyMilliseconds ?? Int64.max
            {
                condition.clock = offset
            }
        }
        return condition
    }

    private static func wallMilliseconds() -> Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// Each path once; those of people and of anyone are tried from here.
    private func wantedPaths() -> [(caller: Machine?, listener: Machine, endpoint: Endpoint)] {
        var known: Set<String> = []
        return inventory.reachability.compactMap { reach in
            let caller = reach.caller.flatMap { $0.composeServices.isEmpty ? nil : $0 }
            let key =
                "\(caller?.address.text ?? "") \(reach.listener.address) \(reach.endpoint.port)"
            guard known.insert(key).inserted else { return nil }
            return (caller, reach.listener, reach.endpoint)
        }
    }

    private func tryPaths(
        _ conditions: [Machine: MachineCondition]
    ) throws(RemoteError) -> [TriedPath] {
        let wanted = wantedPaths()
        let listeners = inventory.machines.filter { conditions[$0] != nil }
        let opened = inParallel(listeners) { machine in
            let ports = PortTable.endpoints(of: machine, in: inventory).map(\.port)
                .filter { conditions[machine]?.listening.contains($0) == false }
            return ports.isEmpty ? [] : open(Set(ports).sorted(), on: machine)
        }
        defer {
            _ = inParallel(Array(zip(listeners, opened))) { machine, pids in
                if let pids, !pids.isEmpty {
                    _ = try? shell.run(ListenScript.end(pids), on: machine)
                }
            }
        }
        let isListening = Dictionary(
            zip(listeners, opened).map { ($0.address, $1 != nil) }, uniquingKeysWith: { $1 })
        let callers = listeners.map(Optional.some) + [nil]
        let answers = inParallel(callers) { caller in
            let targets = wanted.filter { $0.caller == caller }
                .map { (address: $0.listener.address, port: $0.endpoint.port) }
            return connect(targets, from: caller)
        }
        let verdicts = Dictionary(
            zip(callers.map { $0?.address.text ?? "" }, answers), uniquingKeysWith: { $1 })
        return wanted.map { path in
            let state: PathState
            if conditions[path.listener] == nil {
                state = .unknown("\(path.listener.name) did not answer by ssh")
            } else if let caller = path.caller, conditions[caller] == nil {
                state = .unknown("\(caller.name) did not answer by ssh")
            } else if isListening[path.listener.address] == false,
                conditions[path.listener]?.listening.contains(path.endpoint.port) == false
            {
                state = .unknown("nothing listens there yet, and there is neither perl nor python3")
            } else {
                state =
                    verdicts[path.caller?.address.text ?? ""]?[
                        "\(path.listener.address) \(path.endpoint.port)"]
                    ?? .unknown("it could not be tried")
            }
            return TriedPath(
                caller: path.caller, listener: path.listener, endpoint: path.endpoint, state: state)
        }
    }

    /// Nil when the machine cannot.
    private func open(_ ports: [UInt16], on machine: Machine) -> [Int32]? {
        let script = ListenScript(ports: ports, isIPv6: machine.address.family == .ipv6)
        guard let answer = try? shell.run(script.text, on: machine) else { return nil }
        return ListenScript.pids(answer.text)
    }

    private func connect(
        _ targets: [(address: HostAddress, port: UInt16)], from caller: Machine?
    ) -> [String: PathState] {
        guard !targets.isEmpty else { return [:] }
        let script = ConnectScript(targets: targets).text
        let answer: ScriptOutput?
        if let caller {
            answer = try? shell.run(script, on: caller)
        } else {
            answer = try? ChildCommand("sh", ["-c", script], timeout: MachineShellTimes.answer)
                .run()
        }
        return answer.map { ConnectScript.verdicts($0.text) } ?? [:]
    }

    private static func finding(_ path: TriedPath) -> PreflightFinding? {
        let way =
            "\(path.listener.name) (\(path.listener.address)) port \(path.endpoint.port), "
            + "\(path.endpoint.service.name)'s \(path.endpoint.purpose)"
        let caller = path.caller?.name ?? "this machine"
        return switch path.state {
        case .open: nil
        case .closed(let reason):
            PreflightFinding(
                .error, caller,
                "cannot reach \(way): \(reason); look at the firewalls between them (qoectl deploy firewall)"
            )
        case .unknown(let reason):
            PreflightFinding(.warning, caller, "not tried to reach \(way): \(reason)")
        }
    }
}

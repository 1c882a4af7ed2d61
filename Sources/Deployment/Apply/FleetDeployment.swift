/// An installation's machines, brought to what they shall be.
///
/// All calls block; each is for one thread.
package struct FleetDeployment: Sendable {
    package let shell: any MachineShell
    package let folder: RemoteFolder
    /// In the order of the start.
    package let machines: [MachineFiles]
    package let hostsLines: String
    package let archives: [ImageArchive]
    /// Until a service must be healthy.
    package var healthTimeout = FleetDeployment.healthTimeoutDefault
    /// Paths of the files that earlier applies put on a machine.
    package var earlierFiles: @Sendable (Machine) -> [String] = { _ in [] }
    /// Told when a machine has its files.
    package var onFiles: @Sendable (MachineFiles) throws -> Void = { _ in }
    package var onEvent: @Sendable (DeploymentEvent) -> Void = { _ in }

    /// A copy of a large primary takes long; its container counts as starting meanwhile.
    package static let healthTimeoutDefault = Duration.seconds(600)
    /// Of a large database.
    private static let migrationTimeout = Duration.seconds(7200)
    private static let loadTimeout = Duration.seconds(1800)
    /// Starting waits for an old container's end, and that for the longest stop_grace_period, and may pull.
    private static let startTimeout = Duration.seconds(900)

    package init(
        shell: any MachineShell, folder: RemoteFolder, machines: [MachineFiles],
        hostsLines: String, archives: [ImageArchive] = []
    ) {
        self.shell = shell
        self.folder = folder
        self.machines = machines
        self.hostsLines = hostsLines
        self.archives = archives
    }

    /// Asks all machines; changes nothing.
    ///
    /// - Throws: ``DeploymentFailure`` with all that stands in the way, of all machines.
    package func ask() throws(DeploymentFailure) -> [MachineChanges] {
        let answers = inParallel(machines) { wanted -> Result<MachineChanges, RemoteError> in
            Result { () throws(RemoteError) in try self.changes(wanted) }
        }
        var problems: [String] = []
        var changes: [MachineChanges] = []
        for answer in answers {
            switch answer {
            case .failure(let error): problems.append(error.description)
            case .success(let found):
                changes.append(found)
                problems += found.problems.map {
                    "\(found.machine.name) (\(found.machine.address)): \($0)"
                }
            }
        }
        if !problems.isEmpty { throw DeploymentFailure(problems) }
        return changes
    }

    private func changes(_ wanted: MachineFiles) throws(RemoteError) -> MachineChanges {
        // What compose is asked depends on it.
        let capacity = MachineCapacity(
            try shell.succeed("\(MachineCapacity.script)exit 0\n", on: wanted.machine).text)
        let fitted = wanted.fitted(to: capacity)
        let question = AskScript(folder: folder, wanted: fitted)
        let answer = try shell.succeed(
            question.text, on: wanted.machine, input: .bytes(question.input))
        return MachineChanges(
            fitted, hostsLines: hostsLines, facts: MachineFacts(answer.text), archives: archives,
            earlier: earlierFiles(wanted.machine), capacity: capacity)
    }

    /// Brings the machines to what they shall be, phase after phase; stops at the first failure.
    ///
    /// - Parameters:
    ///   - changes: Of ``ask()``.
    ///   - phases: Those to be gone through; files go to all machines that have one of them.
    /// - Returns: How many services were started or started anew.
    @discardableResult
    package func apply(
        _ changes: [MachineChanges], phases: [Phase] = Phase.allCases
    ) throws(DeploymentFailure) -> Int {
        let concerned = changes.filter { change in
            change.starts.contains { phases.contains($0.service.phase) }
        }
        try together(concerned) { (change) throws(DeploymentFailure) in try prepare(change) }
        var count = 0
        for phase in Phase.allCases where phases.contains(phase) {
            let work = concerned.map { change in
                (
                    change.machine,
                    change.starts.filter { $0.service.phase == phase && $0.start != .nothing }
                )
            }.filter { !$0.1.isEmpty }
            guard !work.isEmpty else { continue }
            count += work.reduce(0) { $0 + $1.1.filter { $0.start != .await }.count }
            if phase == .processing, work.contains(where: { $0.1.contains { $0.start != .await } })
            {
                try migrate(concerned.map(\.machine))
            }
            try run(
                phase, work,
                isPrimary: changes.reduce(into: [:]) { $0.merge($1.isPrimary) { $1 } })
        }
        return count
    }

    private typealias Work = [(Machine, [(service: ComposeService, start: MachineChanges.Start)])]

    /// What does not run yet is started on all machines at once; what does, one after the other.
    private func run(
        _ phase: Phase, _ work: Work, isPrimary: [String: Bool]
    ) throws(DeploymentFailure) {
        var fresh: [Place] = []
        var rolling: [Place] = []
        for (machine, starts) in work {
            var own: [ComposeService] = []
            for (service, start) in starts {
                if case .renew = start {
                    rolling.append(Place(machine: machine, services: [service]))
                } else {
                    own.append(service)
                }
            }
            if !own.isEmpty { fresh.append(Place(machine: machine, services: own)) }
        }
        if phase == .storage {
            // The replica copies the primary.
            for place in fresh { try start(place) }
        } else {
            try together(fresh) { (place) throws(DeploymentFailure) in try start(place) }
        }
        if phase == .storage { rolling = Self.primaryLast(rolling, isPrimary) }
        for place in rolling {
            try start(place)
            if phase == .nats, machines.filter({ $0.machine.has(.nats) }).count > 1 {
                try settle(place)
            }
        }
    }

    /// The primary is renewed when its replica has come back: by what they said, else by their names.
    private static func primaryLast(_ places: [Place], _ isPrimary: [String: Bool]) -> [Place] {
        let isKnown = isPrimary.values.contains(true)
        func hasPrimary(_ place: Place) -> Bool {
            place.services.contains { service in
                isPrimary[service.key]
                    ?? (!isKnown && service.service.role == .postgresPrimary)
            }
        }
        return places.filter { !hasPrimary($0) } + places.filter(hasPrimary)
    }

    /// Services of one machine, in the order of the start.
    private struct Place: Sendable {
        let machine: Machine
        let services: [ComposeService]
    }

    /// Calls `body` for all at once, and reports all failures.
    private func together<Item: Sendable>(
        _ items: [Item], _ body: @escaping @Sendable (Item) throws(DeploymentFailure) -> Void
    ) throws(DeploymentFailure) {
        let results = inParallel(items) { item in
            Result { () throws(DeploymentFailure) in try body(item) }
        }
        let failures = results.compactMap { result -> DeploymentFailure? in
            if case .failure(let failure) = result { failure } else { nil }
        }
        guard let first = failures.first else { return }
        throw failures.count == 1
            ? first
            : DeploymentFailure(
                failures.flatMap(\.problems), details: failures.flatMap(\.details))
    }

    /// Calls `body`, and says when it began and ended.
    @discardableResult
    private func timed<Value>(
        _ name: String, _ body: () throws(RemoteError) -> Value, isDone: () -> Bool = { true }
    ) throws(DeploymentFailure) -> Value {
        onEvent(.began(name))
        let start = ContinuousClock.now
        do throws(RemoteError) {
            let value = try body()
            if isDone() { onEvent(.ended(name, ContinuousClock.now - start)) }
            return value
        } catch {
            throw DeploymentFailure(["\(name): \(error)"])
        }
    }

    private func prepare(_ changes: MachineChanges) throws(DeploymentFailure) {
        let machine = changes.machine
        let wanted = changes.wanted
        if !changes.files.isEmpty || !changes.removals.isEmpty || changes.changesHosts
            || !changes.dataFolders.isEmpty
        {
            let script = PutScript(
                folder: folder, changes: changes, wanted: wanted, hostsLines: hostsLines)
            _ = try timed("files to \(machine.name)") { () throws(RemoteError) in
                try shell.succeed(script.text, on: machine, input: .bytes(script.input))
            }
        }
        do {
            try onFiles(wanted)
        } catch {
            throw DeploymentFailure(["what was put on \(machine.name) cannot be noted: \(error)"])
        }
        for archive in changes.images {
            let notes = archive.identities.sorted { $0.key < $1.key }
                .map { "loaded\t\($0.key)\t\($0.value)" }.joined(separator: "\n")
            let script = """
                set -e
                docker load -q > /dev/null
                mkdir -p \(folder.state)
                printf '%s\\n' \(shellQuoted(notes)) >> \(folder.state)/loaded

                """
            _ = try timed("image \(archive.names.joined(separator: ", ")) to \(machine.name)") {
                () throws(RemoteError) in
                try shell.succeed(
                    script, on: machine, input: .file(path: archive.path),
                    timeout: Self.loadTimeout)
            }
        }
    }

    /// Makes or updates the schema, on the first machine that can.
    private func migrate(_ among: [Machine]) throws(DeploymentFailure) {
        guard let place = machines.first(where: { $0.migrates && among.contains($0.machine) })
        else {
            onEvent(
                .note(
                    "the schema is left as it is: migrate runs on a machine with an aggregator, and none is "
                        + "concerned"))
            return
        }
        let script = """
            cd \(folder.path) && \(folder.compose(.processing, profile: "migrate")) run --rm -T migrate < /dev/null

            """
        _ = try timed("schema, on \(place.machine.name)") { () throws(RemoteError) in
            try shell.succeed(script, on: place.machine, timeout: Self.migrationTimeout)
        }
    }

    private func start(_ place: Place) throws(DeploymentFailure) {
        for service in place.services {
            var health = ScriptOutput(status: 0, output: [], errors: [])
            try timed(service.label) { () throws(RemoteError) in
                try shell.succeed(
                    "cd \(folder.path) && \(folder.compose(service.tier, profile: service.profile)) "
                        + "up -d --no-deps \(service.name) < /dev/null\n",
                    on: place.machine, timeout: Self.startTimeout)
                let script = HealthScript(
                    folder: folder, service: service, timeout: healthTimeout)
                health = try shell.run(
                    script.text, on: place.machine,
                    timeout: healthTimeout + MachineShellTimes.answer)
            } isDone: {
                health.status == 0
            }
            if health.status != 0 { throw unhealthy(service, on: place.machine, health) }
        }
    }

    private func unhealthy(
        _ service: ComposeService, on machine: Machine, _ result: ScriptOutput
    ) -> DeploymentFailure {
        let lines = result.text.split(separator: "\n").map(String.init)
        let words = lines.first ?? result.lastWords
        return DeploymentFailure(
            [
                "\(machine.name) (\(machine.address)): \(service.label) does not become healthy: \(words). The end of "
                    + "its log is below; when the cause is removed, the same command goes on from here"
            ],
            details: lines.dropFirst().map { "    \(PrintableText.line($0))" })
    }

    /// Waits until a NATS node that was started anew has caught up with the others.
    private func settle(_ place: Place) throws(DeploymentFailure) {
        for service in place.services {
            let script = """
                cd \(folder.path) || exit 1
                i=0
                while [ "$i" -lt \(healthTimeout.components.seconds) ]; do
                    \(folder.compose(service.tier)) exec -T \(service.name) sh -c \
                'a=$NATS_BIND_ADDRESS; [ "$a" != 0.0.0.0 ] || a=127.0.0.1; \
                wget -q -T 2 -O /dev/null "http://$a:8222/healthz"' < /dev/null > /dev/null 2>&1 && exit 0
                    i=$((i + 2)); sleep 2
                done
                echo "it has not caught up with the other nodes; see qoectl deploy logs \(service.name)" >&2
                exit 1

                """
            try timed("\(service.label) catches up") { () throws(RemoteError) in
                try shell.succeed(
                    script, on: place.machine, timeout: healthTimeout + MachineShellTimes.answer)
            }
        }
    }
}

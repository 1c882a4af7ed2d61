import OwnedThreads
import Testing

@testable import Deployment

@Suite struct ApplyTests {
    private let inventory: Inventory
    private let rendering: FleetRendering
    private let folder: RemoteFolder

    init() throws {
        inventory = try Inventory(exampleHosts)
        rendering = FleetRendering(inventory, sampleMaterial(for: inventory))
        folder = try #require(RemoteFolder(RemoteFolder.usual))
    }

    private func fleet(_ shell: FakeFleet) throws -> FleetDeployment {
        FleetDeployment(
            shell: shell, folder: folder, machines: try rendering.machines(),
            hostsLines: rendering.hostsLines)
    }

    @Test func `a new fleet is started phase after phase, the schema before the aggregators`()
        throws
    {
        let shell = FakeFleet()
        let fleet = try fleet(shell)
        try fleet.apply(fleet.ask())
        let order = shell.calls.filter { $0.hasPrefix("up ") || $0.hasPrefix("migrate") }
        func place(_ call: String) throws -> Int {
            try #require(order.firstIndex(of: call), "\(call) in \(order)")
        }
        #expect(try place("up postgres-primary") < place("up postgres-replica"))
        #expect(try place("up postgres-replica") < place("up nats-1"))
        #expect(try place("up nats-3") < place("migrate"))
        #expect(order.filter { $0 == "migrate" }.count == 1)
        #expect(try place("migrate") < place("up aggregator"))
        #expect(try place("up diagnoser") < place("up ingest"))
        #expect(try place("up ingest") < place("up probe"))
        #expect(try place("up probe") < place("up grafana"))
    }

    @Test func `a fleet that runs as it shall is left alone`() throws {
        let shell = FakeFleet()
        for machine in try rendering.machines() {
            shell.settle(machine, hostsLines: rendering.hostsLines)
        }
        let fleet = try fleet(shell)
        let changes = try fleet.ask()
        #expect(changes.flatMap { $0.lines() } == [])
        #expect(try fleet.apply(changes) == 0)
        #expect(shell.calls == [])
    }

    @Test func `what runs with other settings is started anew one after the other`() throws {
        let shell = FakeFleet()
        for machine in try rendering.machines() {
            let isNATS = machine.machine.has(.nats)
            shell.settle(
                machine, hostsLines: rendering.hostsLines, hash: isNATS ? "old" : "hash")
        }
        let fleet = try fleet(shell)
        #expect(try fleet.apply(fleet.ask()) == 3)
        #expect(
            shell.calls == [
                "up nats-1", "health nats-1", "settle nats-1", "up nats-2", "health nats-2",
                "settle nats-2", "up nats-3", "health nats-3", "settle nats-3",
            ])
    }

    @Test(arguments: [false, true])
    func `of two database servers the primary of now is renewed last`(isFailedOver: Bool) throws {
        let shell = FakeFleet()
        for machine in try rendering.machines() {
            let isStorage = machine.services.contains { $0.tier == .storage }
            shell.settle(
                machine, hostsLines: rendering.hostsLines, hash: isStorage ? "old" : "hash",
                primary: isFailedOver ? "postgres-replica" : nil)
        }
        let fleet = try fleet(shell)
        #expect(try fleet.apply(fleet.ask()) == 2)
        let order = shell.calls.filter { $0.hasPrefix("up") }
        let byName = ["up postgres-replica", "up postgres-primary"]
        #expect(order == (isFailedOver ? byName.reversed() : byName))
    }

    @Test func `a pending change of the schema is a line of its own`() throws {
        func line(_ change: (MachineFiles, FakeFleet) -> Void) throws -> String? {
            let shell = FakeFleet()
            for machine in try rendering.machines() {
                shell.settle(machine, hostsLines: rendering.hostsLines)
                change(machine, shell)
            }
            return MachineChanges.migration(try fleet(shell).ask())
        }
        let pending = "schema: migrate runs before the programs, on aggregator-1, of qoe"
        #expect(try line { _, _ in } == nil)
        // Other settings of the same image.
        #expect(
            try line { $1.settle($0, hostsLines: rendering.hostsLines, hash: "old") } == nil)
        #expect(
            try line { $1.settle($0, hostsLines: rendering.hostsLines, image: "qoe:old") }
                == pending)
        let changes = try fleet(FakeFleet()).ask()
        #expect(MachineChanges.migration(changes) == pending)
        #expect(MachineChanges.migration(changes, in: [.ingest]) == nil)
    }

    @Test func `a machine without a command that is needed says that alone`() throws {
        let wanted = try #require(try rendering.machines().first)
        let changes = MachineChanges(
            wanted, hostsLines: "", facts: MachineFacts("missing\tsha256sum\n"), archives: [],
            earlier: [])
        #expect(
            changes.problems == [
                "commands that qoectl needs are missing there: sha256sum; install them (apt install coreutils)"
            ])
    }

    @Test func `an apply that was interrupted goes on from there`() throws {
        let shell = FakeFleet()
        let record = Monitor(DeploymentRecord())
        var interrupted = try fleet(shell)
        interrupted.onEvent = { event in record.withLock { $0.add(event) } }
        let changes = try interrupted.ask()
        shell.interrupt("up nats-2")
        #expect(throws: DeploymentFailure.self) { try interrupted.apply(changes) }
        let words = record.withLock { $0.interruption }
        #expect(words.hasPrefix("interrupted: done: files to "))
        #expect(words.contains("postgres-primary, "))
        #expect(
            words.hasSuffix(
                "; begun, and perhaps going on without us: nats-2. The same command goes on from there"
            ))
        #expect(!shell.calls.contains("migrate"))

        // What was done is there, and is not done again.
        let done = ["postgres-primary", "postgres-replica", "nats-1", "nats-3"]
        let again = FakeFleet()
        for machine in try rendering.machines() where done.contains(machine.machine.name) {
            again.settle(machine, hostsLines: rendering.hostsLines)
        }
        let second = try fleet(again)
        try second.apply(second.ask())
        let ups = again.calls.filter { $0.hasPrefix("up ") }
        #expect(ups.first == "up nats-2")
        #expect(ups.last == "up grafana")
        #expect(!ups.contains("up postgres-primary"))
    }

    @Test func `all problems of all machines are told, and nothing is changed`() throws {
        let shell = FakeFleet()
        shell.refuse("nats-1", "no route to it")
        shell.refuse("ingest-2", "nothing listens")
        let fleet = try fleet(shell)
        let failure = #expect(throws: DeploymentFailure.self) { try fleet.ask() }
        #expect(
            failure?.problems == [
                "nats-1 (192.0.2.21): no route to it", "ingest-2 (192.0.2.42): nothing listens",
            ])
        #expect(shell.calls == [])
    }

    @Test func `it stops at what does not become healthy, with the end of its log`() throws {
        let shell = FakeFleet()
        shell.break("nats-2", "restarting, health none\nout of disk\n")
        let fleet = try fleet(shell)
        let changes = try fleet.ask()
        let failure = #expect(throws: DeploymentFailure.self) { try fleet.apply(changes) }
        #expect(
            failure?.problems.first?.hasPrefix(
                "nats-2 (192.0.2.22): nats-2 does not become healthy: restarting, health none")
                == true)
        #expect(failure?.details == ["    out of disk"])
        #expect(!shell.calls.contains("up aggregator"))
    }

    @Test func `only the phases that were asked for are touched`() throws {
        let shell = FakeFleet()
        let fleet = try fleet(shell)
        try fleet.apply(fleet.ask(), phases: [.nats])
        #expect(
            Set(shell.calls.filter { $0.hasPrefix("up") }) == [
                "up nats-1", "up nats-2", "up nats-3",
            ])
        #expect(shell.calls.filter { $0.hasPrefix("files") }.count == 3)
    }

    @Test func `a machine without docker, compose or room is told what to do`() throws {
        let wanted = try #require(try rendering.machines().first)
        func problems(_ answer: String) -> [String] {
            MachineChanges(
                wanted, hostsLines: "", facts: MachineFacts(answer), archives: [], earlier: []
            ).problems
        }
        #expect(
            problems("docker-problem\tit is not installed\n").first?.contains("apt install") == true
        )
        #expect(problems("docker\t28.0\ncompose\t\n").first?.contains("compose 2") == true)
        #expect(
            problems("docker\t28.0\ncompose\t2.40\nfree\t1000\n").first?.contains("make room")
                == true)
        #expect(problems("docker\t28.0\ncompose\t2.40\nfree\t99000000\n").isEmpty)
    }

    @Test func `an image is loaded where it is missing or another`() throws {
        let wanted = try #require(try rendering.machines().first { $0.machine.isCalled("nats-1") })
        let archive = ImageArchive(
            path: "nats.tar", identities: ["nats:2.12-alpine": "sha256:aa"], byteCount: 1)
        func loads(_ answer: String) -> Bool {
            !MachineChanges(
                wanted, hostsLines: "", facts: MachineFacts(answer), archives: [archive],
                earlier: []
            ).images.isEmpty
        }
        #expect(loads(""))
        #expect(loads("image\tnats:2.12-alpine\tsha256:bb\n"))
        #expect(!loads("image\tnats:2.12-alpine\tsha256:aa\n"))
        // Some engines give an image another identity than its archive has.
        #expect(!loads("image\tnats:2.12-alpine\tsha256:bb\nloaded\tnats:2.12-alpine\tsha256:aa\n"))
    }

    @Test func `files are removed only if an apply put them there`() throws {
        let wanted = try #require(try rendering.machines().first)
        let sum = String(repeating: "0", count: 64)
        let facts = MachineFacts("sum\t\(sum)  ./old\t\nsum\t\(sum)  ./foreign\t\n")
        let changes = MachineChanges(
            wanted, hostsLines: "", facts: facts, archives: [], earlier: ["old", ".env"])
        #expect(changes.removals == ["old"])
    }

    @Test func `what the hosts file names no more is left over`() throws {
        var services = DeployedServices("")
        for machine in inventory.machines { services.add(machine) }
        services = DeployedServices(services.text)
        let now = try Inventory(
            exampleHosts.replacing("192.0.2.42   ingest-2", with: "").replacing(
                "192.0.2.31   aggregator-1 diagnoser-1", with: "192.0.2.31 aggregator-1"
            ).replacing("aggregator-2", with: "aggregator-2 diagnoser-1"))
        #expect(
            services.leftovers(now).map { "\($0.services.map(\.name)) \($0.address)" } == [
                "[\"diagnoser-1\"] 192.0.2.31", "[\"ingest-2\"] 192.0.2.42",
            ])
        #expect(services.leftovers(inventory).isEmpty)
    }

    @Test func `a stop goes from the last phase to the first`() throws {
        let shell = FakeFleet()
        try FleetStop(shell: shell, folder: folder).stop(inventory.machines)
        let calls = shell.calls
        #expect(calls.last == "stop postgres-primary")
        let ingest = try #require(calls.firstIndex(of: "stop ingest"))
        let nats = try #require(calls.firstIndex(of: "stop nats-1"))
        #expect(ingest < nats)
    }

    @Test func `what goes on running keeps what it needs`() throws {
        let shell = FakeFleet()
        let left = DeployedServices("diagnoser-1 192.0.2.31\naggregator-2 192.0.2.32\n").machines
        let now = try Inventory(
            exampleHosts.replacing("aggregator-1 diagnoser-1", with: "aggregator-1 diagnoser-2")
                .replacing("192.0.2.32   aggregator-2", with: ""))
        try FleetStop(shell: shell, folder: folder).stop(left, staying: now.machines)
        #expect(Set(shell.calls) == ["stop aggregator", "stop nats-tls"])
    }
}

/// Machines that note what is done to them, by the words of the scripts.
private final class FakeFleet: MachineShell {
    private struct State {
        var calls: [String] = []
        var refusals: [String: String] = [:]
        var broken: [String: String] = [:]
        var answers: [String: String] = [:]
        var interruption: String?
    }

    private let state = Monitor(State())

    var calls: [String] { state.withLock { $0.calls } }

    func refuse(_ name: String, _ why: String) { state.withLock { $0.refusals[name] = why } }
    func `break`(_ service: String, _ words: String) {
        state.withLock { $0.broken[service] = words }
    }

    /// The call ends as by Ctrl-C.
    func interrupt(_ call: String) { state.withLock { $0.interruption = call } }

    /// It has all files, and its containers run with the settings `hash`, of the image that is wanted or another.
    func settle(
        _ wanted: MachineFiles, hostsLines: String, hash: String = "hash", image: String? = nil,
        primary: String? = nil
    ) {
        var lines = ["docker\t28.0", "compose\t2.40", "free\t99000000"]
        lines.append("hosts\t\(ContentDigest(HostsBlock.text(hostsLines)).hex)")
        for file in wanted.files {
            lines.append("mode\t\(String(file.mode, radix: 8))\t\(file.owner)\t./\(file.path)")
            lines.append("sum\t\(file.digest)  ./\(file.path)\t")
        }
        lines += wanted.dataFolders.map { "data\t700\t\($0.owner)\t\($0.path)" }
        for service in wanted.services {
            let image = image ?? wanted.images[service.key] ?? ""
            lines.append(
                "container\t\(service.key)\t\(hash)\tsha256:1\trunning\thealthy\t0\t\(image)")
            if let primary, service.tier == .storage {
                lines.append("recovery\t\(service.key)\t\(service.name == primary ? "f" : "t")")
            }
            lines.append("hash\t\(service.tier.project)\t\(service.name) hash")
        }
        state.withLock { $0.answers[wanted.machine.name] = lines.joined(separator: "\n") }
    }

    func run(
        _ script: String, on machine: Machine, input: ScriptInput, timeout: Duration,
        onOutput: ((ArraySlice<UInt8>) -> Void)?
    ) throws(RemoteError) -> ScriptOutput {
        if let why = state.withLock({ $0.refusals[machine.name] }) {
            throw RemoteError(.unreachable, machine, why)
        }
        func word(after text: String) -> String? {
            script.firstRange(of: text).map {
                String(script[$0.upperBound...].prefix { $0 != " " && $0 != "\n" && $0 != ")" })
            }
        }
        var answer = ""
        var status: Int32 = 0
        var call: String?
        if script.contains("/tmp/qoe-ask") {
            answer = state.withLock { $0.answers[machine.name] ?? "docker\t28.0\ncompose\t2.40\n" }
        } else if script.contains("run --rm -T migrate") {
            call = "migrate"
        } else if let name = word(after: "up -d --no-deps ") {
            call = "up \(name)"
        } else if let name = word(after: "ps -aq --filter label=com.docker.compose.project="),
            !name.isEmpty
        {
            call = "stop \(word(after: "com.docker.compose.service=") ?? "")"
        } else if let name = word(after: "ps -aq ") {
            call = "health \(name)"
            if let words = state.withLock({ $0.broken[name] }) {
                answer = words
                status = 1
            }
        } else if let name = word(after: "exec -T ") {
            call = "settle \(name)"
        } else if script.contains("state/new") {
            call = "files \(machine.name)"
        }
        if let call {
            let isStopped = state.withLock { state in
                state.calls.append(call)
                return state.interruption == call
            }
            if isStopped { throw RemoteError(.stopped, machine, "stopped") }
        }
        return ScriptOutput(status: status, output: Array(answer.utf8), errors: [])
    }
}

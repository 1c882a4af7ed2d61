import Testing

@testable import Deployment

@Suite struct ResourceLimitTests {
    private let inventory: Inventory
    private let material: FleetMaterial

    init() throws {
        inventory = try Inventory(exampleHosts)
        material = sampleMaterial(for: inventory)
    }

    private func files(_ name: String, _ material: FleetMaterial) throws -> MachineFiles {
        let machines = try FleetRendering(inventory, material).machines()
        return try #require(machines.first { $0.machine.isCalled(name) })
    }

    private func environment(_ files: MachineFiles) throws -> [String: String] {
        let file = try #require(files.files.first { $0.path == ".env" })
        return SettingsFile(String(decoding: file.content, as: UTF8.self), name: ".env").values
    }

    @Test func `limits are those of the settings, else of the compose file`() throws {
        let ingest = try files("ingest-1", material)
        #expect(
            Dictionary(
                ingest.limits.map { ($0.variable, $0.text) }, uniquingKeysWith: { $1 }) == [
                    "NATS_TLS_CPUS": "1", "INGEST_CPUS": "4", "INGEST_OPEN_FILES": "65536",
                ])
        #expect(ingest.limits.allSatisfy { !$0.isSet })
        var changed = material
        changed.machineSettings["ingest-1"] = ["INGEST_CPUS": "1.5"]
        let own = try files("ingest-1", changed).limits.filter(\.isSet)
        #expect(own.map(\.amount) == [1.5])
    }

    @Test func `every limit that a compose file sets is known`() throws {
        let inventory = try Inventory(
            onOneMachine(
                "192.0.2.1 postgres-replica balancer-1 prometheus grafana jaeger otel-collector "
                    + "probe-a"))
        let material = sampleMaterial(for: inventory)
        let known = Set(ResourceLimit.all(of: inventory.machines[0], material).map(\.variable))
        for tier in ComposeService.Tier.allCases {
            for part in try #require(material.text(tier.file)).split(separator: "${").dropFirst() {
                let name = String(part.prefix { $0.isLetter || $0 == "_" })
                if name.hasSuffix("_CPUS") || name.hasSuffix("_OPEN_FILES") {
                    #expect(known.contains(name), "\(name) of \(tier.file)")
                }
            }
        }
    }

    @Test func `defaults above what a machine has are lowered to it, and only they`() throws {
        var changed = material
        changed.settings = ["INGEST_CPUS": "8"]
        let small = MachineCapacity(processors: 2, openFiles: 4096)
        #expect(
            try environment(files("ingest-1", changed).fitted(to: small))["INGEST_CPUS"] == "8")
        let ingest = try environment(files("ingest-1", material).fitted(to: small))
        #expect(ingest["INGEST_CPUS"] == "2")
        #expect(ingest["INGEST_OPEN_FILES"] == "4096")
        #expect(ingest["NATS_TLS_CPUS"] == nil)
        let nats = try files("nats-1", material)
        #expect(nats.fitted(to: small).files == nats.files)
        let large = MachineCapacity(processors: 64, openFiles: 1 << 20)
        #expect(
            try files("ingest-1", material).fitted(to: large).files
                == files("ingest-1", material).files)
        #expect(
            try files("ingest-1", material).fitted(to: MachineCapacity()).files
                == files("ingest-1", material).files)
    }

    @Test
    func `what the operator has set too high names the setting, what is lowered is a warning`()
        throws
    {
        var changed = material
        changed.settings = ["INGEST_CPUS": "8", "INGEST_OPEN_FILES": "70000"]
        let small = MachineCapacity(processors: 2, openFiles: 4096)
        let own = try files("ingest-1", changed)
        #expect(
            small.problems(own.limits, on: own.machine) == [
                "docker refuses a limit of 8 processors for ingest-1 on 2; put INGEST_CPUS=2 into settings.ingest-1.env, "
                    + "or take the setting away",
                "docker cannot give ingest-1 70000 open files, but 4096; put INGEST_OPEN_FILES=4096 into "
                    + "settings.ingest-1.env, or take the setting away",
            ])
        #expect(small.warnings(own.limits) == [])
        let usual = try files("ingest-1", material)
        #expect(small.problems(usual.limits, on: usual.machine) == [])
        #expect(
            small.warnings(usual.limits).map { $0.prefix(45) } == [
                "ingest-1 gets 4096 open files instead of 6553"
            ])
    }

    @Test func `a machine says what it has`() throws {
        let answer = try LocalShell().run(MachineCapacity.script, on: inventory.machines[0]).text
        #expect(try #require(MachineCapacity(answer).processors) > 0)
        #expect(
            MachineCapacity("processors\t0\nopen-files\tunlimited\nprocessors\n")
                == MachineCapacity())
    }
}

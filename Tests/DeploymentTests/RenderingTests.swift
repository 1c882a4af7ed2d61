import Foundation
import Testing

@testable import Deployment

@Suite struct RenderingTests {
    private let inventory: Inventory
    private let material: FleetMaterial

    init() throws {
        inventory = try Inventory(exampleHosts)
        material = sampleMaterial(for: inventory)
    }

    private func files(of name: String, _ material: FleetMaterial? = nil) throws -> MachineFiles {
        let machines = try FleetRendering(inventory, material ?? self.material).machines()
        return try #require(machines.first { $0.machine.isCalled(name) })
    }

    @Test func `a machine gets the files of its services and no other's`() throws {
        let files = try files(of: "nats-2")
        #expect(
            files.files.map(\.path).filter { !$0.hasPrefix("deploy/nats/") } == [
                ".env", "certs/nats-2/bundle.pem", "certs/nats-2/ca.pem", "certs/nats-2/cert.pem",
                "certs/nats-2/key.pem", "docker-compose.nats-cluster.yml", "hosts",
                "secrets/nats-accounts.conf", "secrets/nats-cluster.conf",
            ])
        #expect(files.services.map(\.name) == ["nats-2"])
    }

    @Test func `secrets are readable for the container's user alone`() throws {
        for machine in try FleetRendering(inventory, material).machines() {
            for file in machine.files
            where file.path.hasPrefix("secrets/") || file.path.hasSuffix("/key.pem")
                || file.path.hasSuffix("/bundle.pem")
            {
                #expect(file.mode == 0o400, "\(file.path)")
                #expect(file.owner != 0, "\(file.path)")
            }
        }
        let ingest = try files(of: "ingest-1")
        let pepper = try #require(ingest.files.first { $0.path.hasSuffix(".pepper") })
        #expect(pepper.owner == 65_532)
        #expect(!ingest.files.contains { $0.path.hasSuffix(".lock") })
    }

    @Test func `the key of the authority is on no machine`() throws {
        let secret = material.installation["certs/ca.key"]
        for machine in try FleetRendering(inventory, material).machines() {
            #expect(!machine.files.contains { $0.content == secret })
        }
    }

    @Test func `everything that a compose file mounts for a service is on its machine`() throws {
        // What it mounts lies beside it; each path is the default of a variable or stands for itself.
        for machine in try FleetRendering(inventory, material).machines() {
            let environment = FleetRendering(inventory, material).environment(of: machine.machine)
            for service in machine.services {
                let text = try #require(material.text(service.tier.file))
                for path in mountedPaths(text, of: service.name, environment) {
                    let isThere = machine.files.contains {
                        $0.path == path || $0.path.hasPrefix("\(path)/")
                    }
                    #expect(isThere, "\(service.label) on \(machine.machine.name): \(path)")
                }
            }
        }
    }

    @Test func `what is missing is said at once, each file once`() {
        var poor = material
        poor.installation["secrets/nats-accounts.conf"] = nil
        poor.installation["certs/ingest-1/key.pem"] = nil
        #expect {
            try FleetRendering(inventory, poor).machines()
        } throws: { error in
            (error as? MaterialError)?.problems == [
                "secrets/nats-accounts.conf is missing; qoectl deploy init makes it",
                "certs/ingest-1/key.pem is missing; qoectl deploy init makes it",
            ]
        }
    }

    @Test func `a changed file changes the label of those who mount it alone`() throws {
        let before = try files(of: "aggregator-1")
        var changed = material
        changed.sources["deploy/haproxy/nats-tls.cfg"]?.append(UInt8(ascii: "\n"))
        let after = try files(of: "aggregator-1", changed)
        #expect(labels(before).keys.sorted() == ["aggregator", "diagnoser", "nats-tls"])
        #expect(labels(before)["aggregator"] == labels(after)["aggregator"])
        #expect(labels(before)["nats-tls"] != labels(after)["nats-tls"])
    }

    @Test func `a new token or certificate is no reason to start ingest anew`() throws {
        var changed = material
        changed.installation["secrets/tokens/tokens.jsonl"] = Array("new".utf8)
        let before = try files(of: "ingest-1")
        let after = try files(of: "ingest-1", changed)
        #expect(labels(before) == labels(after))
        #expect(before.files != after.files)
    }

    @Test func `a server that moves is a reason for those who call it`() throws {
        let moved = try Inventory(
            exampleHosts.replacing("192.0.2.11   postgres", with: "192.0.2.19   postgres"))
        let machines = try FleetRendering(moved, sampleMaterial(for: moved)).machines()
        let aggregator = try #require(machines.first { $0.machine.isCalled("aggregator-1") })
        let nats = try #require(machines.first { $0.machine.isCalled("nats-1") })
        #expect(labels(try files(of: "aggregator-1")) != labels(aggregator))
        #expect(labels(try files(of: "nats-1")) == labels(nats))
    }

    @Test func `rendering twice gives the same`() throws {
        let first = try FleetRendering(inventory, material).machines()
        let second = try FleetRendering(inventory, material).machines()
        #expect(first.map(\.files) == second.map(\.files))
    }

    @Test func `settings of one machine go before those of all`() throws {
        var set = material
        set.settings = ["QOE_IMAGE": "qoe:1", "NATS_CPUS": "2"]
        set.machineSettings = ["ingest-1": ["QOE_IMAGE": "qoe:2"]]
        #expect(try files(of: "ingest-1", set).images["qoe-ingest/ingest"] == "qoe:2")
        #expect(try files(of: "ingest-2", set).images["qoe-ingest/ingest"] == "qoe:1")
        #expect(try files(of: "nats-1").images["qoe-nats/nats-1"] == "nats:2.12-alpine")
    }

    @Test func `monitoring is limited to what a setting names`() throws {
        var set = material
        set.settings = [FleetMaterial.monitoringSetting: "prometheus"]
        #expect(try files(of: "prometheus", set).services.map(\.name) == ["prometheus"])
        set.settings = [FleetMaterial.monitoringSetting: "none"]
        let machines = try FleetRendering(inventory, set).machines()
        #expect(!machines.contains { $0.machine.isCalled("prometheus") })
    }

    @Test func `without a replica the database is one host`() throws {
        let text = onOneMachine()
        let alone = try Inventory(text)
        let environment = FleetRendering(alone, sampleMaterial(for: alone))
            .environment(of: alone.machines[0])
        #expect(environment["QOE_POSTGRES_URL"]?.contains("@postgres-primary/telemetry") == true)
        #expect(environment["QOE_STREAM_REPLICAS"] == "1")
        #expect(environment["POSTGRES_READER_ADDRESS"] == "postgres-primary:5432")
    }

    @Test func `a replica beside its primary has another port and other data`() throws {
        let both = try Inventory(onOneMachine("192.0.2.1 postgres-replica"))
        let rendering = FleetRendering(both, sampleMaterial(for: both))
        let environment = rendering.environment(of: both.machines[0])
        #expect(environment["POSTGRES_REPLICA_PORT"] == "5433")
        #expect(
            environment["QOE_POSTGRES_URL"]?.contains(
                "@postgres-primary:5432,postgres-replica:5433/") == true)
        let folders = try rendering.machines().first?.dataFolders.map(\.path)
        #expect(folders?.contains("/var/lib/qoe/postgres") == true)
        #expect(folders?.contains("/var/lib/qoe/postgres-replica") == true)
    }

    @Test func `more nodes than the compose file has are made as its first`() throws {
        let hosts = exampleHosts.replacing(
            "192.0.2.23   nats-3", with: "192.0.2.23 nats-3\n192.0.2.24 nats-4\n192.0.2.25 nats-5")
        let five = try Inventory(hosts)
        let machines = try FleetRendering(five, sampleMaterial(for: five)).machines()
        let fifth = try #require(machines.first { $0.machine.isCalled("nats-5") })
        let file = try #require(
            fifth.files.first { $0.path == ComposeService.Tier.natsCluster.file })
        let text = String(decoding: file.content, as: UTF8.self)
        #expect(text.contains("\n  nats-5:\n"))
        #expect(text.contains("NATS_SERVER_NAME: nats-5"))
        #expect(text.contains("./certs/nats-5:"))
        let routes = try #require(
            fifth.files.first { $0.path == "secrets/nats-cluster.conf" })
        #expect(String(decoding: routes.content, as: UTF8.self).contains("@nats-4:6222"))
    }

    @Test func `the balancer's file names the ingest machines of the inventory`() {
        let text = """
            backend ingest
                # One line a machine, ingest-1 and ingest-2 here.
                server ingest-1 ingest-1:8080 verifyhost ingest-1
                server ingest-2 ingest-2:8080 verifyhost ingest-2
                server other ingest.example.com:80
            """
        let hosts = exampleHosts + "\n192.0.2.43 ingest-3\n"
        let three = try? Inventory(hosts)
        #expect(
            three.map { ServiceLines.repeated(text, for: $0) } == """
                backend ingest
                    # One line a machine, ingest-1 and ingest-2 here.
                    server ingest-1 ingest-1:8080 verifyhost ingest-1
                    server ingest-2 ingest-2:8080 verifyhost ingest-2
                    server ingest-3 ingest-3:8080 verifyhost ingest-3
                    server other ingest.example.com:80
                """)
    }

    @Test func `prometheus scrapes what the inventory names, at moved ports too`() throws {
        let text = """
              - job_name: ingest
                static_configs:
                  - targets: ["ingest-1:9090", "ingest-2:9090"]
              - job_name: other
                static_configs:
                  - targets: ["x:1"]
            """
        let inventory = try Inventory(onOneMachine("192.0.2.1 prometheus"))
        let scraped = ServiceLines.scraped(text, for: inventory)
        #expect(scraped.contains("- targets: [\"ingest-1:9190\"]"))
        #expect(scraped.contains("- targets: [\"x:1\"]"))
    }
}

/// The labels with digests in a machine's compose files, by service.
private func labels(_ files: MachineFiles) -> [String: String] {
    var result: [String: String] = [:]
    for file in files.files where file.path.hasPrefix("docker-compose.") {
        var last = ""
        for line in String(decoding: file.content, as: UTF8.self).split(separator: "\n") {
            if line.hasPrefix("    labels: ") { result[last] = String(line) }
            if line.hasPrefix("  "), line.hasSuffix(":") {
                last = String(line.dropFirst(2).dropLast())
            }
        }
    }
    return result
}

/// Paths below the installation's folder that a service of a compose file mounts, with its variables put in.
private func mountedPaths(
    _ text: String, of name: String, _ environment: [String: String]
) -> [String] {
    var block: [String] = []
    var secrets: [String: String] = [:]
    var section = ""
    var item = ""
    var anchors: [String: [String]] = [:]
    for line in text.split(separator: "\n").map(String.init) {
        if !line.hasPrefix(" ") {
            section = String(line.prefix { $0 != ":" })
        } else if line.hasPrefix("  "), !line.hasPrefix("   "), line.hasSuffix(":") {
            item = String(line.dropFirst(2).dropLast())
        }
        if section.hasPrefix("x-") { anchors[section, default: []].append(line) }
        if section == "services", item == name { block.append(line) }
        if section == "secrets", line.contains("file: ") {
            secrets[item] = String(line.drop { $0 != ":" }.dropFirst(2))
        }
    }
    if block.contains(where: { $0.contains("<<: *") }) {
        block += anchors.values.flatMap(\.self)
    }
    var paths: [String] = []
    for line in block {
        let content = line.drop { $0 == " " }
        guard content.hasPrefix("- ") else { continue }
        var word = String(content.dropFirst(2))
        if word.hasPrefix("source: ") { word = String(word.dropFirst(8)) }
        let source = secrets[word] ?? word
        let full = expanded(source, environment)
        guard full.hasPrefix("./") else { continue }
        paths.append(String(full.dropFirst(2).prefix { $0 != ":" }))
    }
    return paths
}

/// `${NAME:-default}` replaced, the innermost first.
private func expanded(_ text: String, _ environment: [String: String]) -> String {
    var text = text
    while let start = text.range(of: "${", options: .backwards),
        let end = text[start.upperBound...].firstIndex(of: "}")
    {
        let parts = text[start.upperBound..<end].split(separator: ":", maxSplits: 1)
        let name = String(parts[0])
        let fallback = parts.count > 1 ? String(parts[1].dropFirst()) : ""
        text.replaceSubrange(start.lowerBound...end, with: environment[name] ?? fallback)
    }
    return text
}

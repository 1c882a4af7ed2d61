/// One machine's part of an installation.
package struct MachineFiles: Sendable {
    package let machine: Machine
    /// In the order of the start.
    package let services: [ComposeService]
    /// By their paths.
    package private(set) var files: [RenderedFile]
    package let folders: [RenderedFolder]
    /// Of each service, by its key.
    package let images: [String: String]
    /// Folders of data with their owners: made when missing, never removed.
    package let dataFolders: [RenderedFolder]
    /// Of the programs, for `migrate`; nil where it cannot be run.
    package let migrates: Bool
    /// What its compose files limit.
    package let limits: [ResourceLimit]
    /// Of `.env`.
    fileprivate let variables: [String: String]

    /// The same for a machine that has no more than that: default limits above it are lowered to it.
    package func fitted(to capacity: MachineCapacity) -> MachineFiles {
        let lowered = limits.filter { !$0.isSet }.reduce(into: [String: String]()) { all, limit in
            if let most = capacity.exceeded(by: limit) { all[limit.variable] = "\(most)" }
        }
        guard !lowered.isEmpty else { return self }
        var result = self
        result.files = files.map { file in
            file.path == Self.environmentFile
                ? Self.environment(variables.merging(lowered) { $1 }) : file
        }
        return result
    }

    fileprivate static let environmentFile = ".env"

    /// They are no secrets, yet an operator may have put one there.
    fileprivate static func environment(_ variables: [String: String]) -> RenderedFile {
        RenderedFile(environmentFile, SettingsFile.text(variables), mode: 0o600)
    }
}

/// Makes the files of each machine.
package struct FleetRendering: Sendable {
    private let inventory: Inventory
    private let material: FleetMaterial

    private static let secretMode: UInt16 = 0o400
    private static let postgresHosts = "postgres-primary,postgres-replica"

    package init(_ inventory: Inventory, _ material: FleetMaterial) {
        self.inventory = inventory
        self.material = material
    }

    /// Those of all machines on which something runs; depends on nothing but what it is made from.
    ///
    /// - Throws: ``MaterialError`` with all that is missing.
    package func machines() throws(MaterialError) -> [MachineFiles] {
        var problems: [String] = []
        let result = inventory.machines.compactMap { files(of: $0, &problems) }
        if !problems.isEmpty {
            var known: Set<String> = []
            throw MaterialError(problems: problems.filter { known.insert($0).inserted })
        }
        return result
    }

    /// The lines that every machine's `/etc/hosts` gets.
    package var hostsLines: String {
        inventory.machines.map { machine in
            let names = machine.services.map(\.name) + machine.aliases
            return "\(machine.address) \(names.joined(separator: " "))\n"
        }.joined()
    }

    private func files(of machine: Machine, _ problems: inout [String]) -> MachineFiles? {
        let services = material.services(of: machine)
        guard !services.isEmpty else { return nil }
        var files: [String: RenderedFile] = [:]
        var parts: [String: [String]] = [:]
        for service in services {
            let own = mounted(by: service, on: machine, &problems)
            for file in own { files[file.path] = files[file.path] ?? file }
            parts[service.key] =
                own.filter(service.restarts)
                .map { "\($0.path) \($0.digest)" }.sorted() + peers(of: service)
        }
        for tier in ComposeService.Tier.allCases {
            let own = services.filter { $0.tier == tier }
            guard !own.isEmpty else { continue }
            guard let text = material.text(tier.file) else {
                problems.append(Self.missingSource(tier.file))
                continue
            }
            let digests = own.map { service in
                (
                    service.name,
                    ContentDigest((parts[service.key] ?? []).joined(separator: "\n")).hex
                )
            }
            files[tier.file] = RenderedFile(
                tier.file, Self.labelled(text, digests, &problems, tier.file), mode: 0o644)
        }
        let texts = Set(services.map(\.tier.file)).compactMap(material.text)
        // What none of its files reads is no change of the machine.
        let variables = environment(of: machine).filter { name, _ in
            texts.contains { $0.contains(name) }
        }
        files[MachineFiles.environmentFile] = MachineFiles.environment(variables)
        files["hosts"] = RenderedFile("hosts", hostsLines)
        let settings = environment(of: machine)
        return MachineFiles(
            machine: machine, services: services,
            files: files.values.sorted { $0.path < $1.path },
            folders: [
                RenderedFolder("secrets", mode: 0o700, owner: 0),
                RenderedFolder("secrets/tokens", mode: 0o700, owner: 65_532),
            ],
            images: services.reduce(into: [:]) {
                $0[$1.key] = material.image(of: $1, on: machine)
            },
            dataFolders: Self.dataFolders(services, settings),
            migrates: services.contains { $0.service.role == .aggregator },
            limits: ResourceLimit.all(of: machine, material), variables: variables)
    }

    private static func missingSource(_ path: String) -> String {
        "\(path) is missing; name the folder with the project's compose files with --sources PATH"
    }

    private static func dataFolders(
        _ services: [ComposeService], _ settings: [String: String]
    ) -> [RenderedFolder] {
        services.compactMap { service in
            switch service.tier {
            case .storage:
                RenderedFolder(
                    settings[
                        service.service.role == .postgresReplica ? "POSTGRES_REPLICA_DATA" : ""]
                        ?? settings["POSTGRES_DATA"] ?? "/var/lib/qoe/postgres", mode: 0o700,
                    owner: service.user)
            case .natsCluster:
                RenderedFolder(
                    settings["NATS_DATA"] ?? "/var/lib/qoe/nats", mode: 0o700, owner: service.user)
            default: nil
            }
        }
    }

    /// Files that a service's container sees.
    private func mounted(
        by service: ComposeService, on machine: Machine, _ problems: inout [String]
    ) -> [RenderedFile] {
        var files: [RenderedFile] = []
        for prefix in service.sources {
            let paths = material.sources.keys.filter {
                $0.hasPrefix(prefix) && !$0.hasSuffix(".example")
            }
            if paths.isEmpty { problems.append(Self.missingSource(prefix)) }
            files += paths.sorted().map { path in
                RenderedFile(
                    path, fitted(path), mode: path.hasSuffix(".sh") ? 0o755 : 0o644)
            }
        }
        for name in service.secrets {
            guard let content = secret(name, on: machine) else {
                problems.append("secrets/\(name) is missing; qoectl deploy init makes it")
                continue
            }
            files.append(
                RenderedFile(
                    "secrets/\(name)", content, mode: Self.secretMode, owner: service.user))
        }
        if service.service.role == .ingest, service.name == "ingest" {
            let tokens = material.installation.filter {
                $0.key.hasPrefix("secrets/tokens/") && !$0.key.hasSuffix(".lock")
            }
            if tokens.isEmpty {
                problems.append("secrets/tokens is empty; qoectl deploy init fills it")
            }
            files += tokens.map { path, content in
                RenderedFile(path, content, mode: 0o400, owner: service.user)
            }
        }
        if service.tier == .probe {
            files += probeFiles(service, &problems)
        } else if service.tier != .monitoring {
            files += certificate(of: service, &problems)
        } else if service.service.role == .grafana {
            // A client alone.
            files += certificate(of: service, &problems).filter { $0.path.hasSuffix("/ca.pem") }
        }
        return files
    }

    /// The project's file as this inventory wants it.
    private func fitted(_ path: String) -> [UInt8] {
        guard let text = material.text(path) else { return [] }
        if path == "deploy/prometheus/prometheus.yml" {
            return Array(ServiceLines.scraped(text, for: inventory).utf8)
        }
        if path.hasPrefix("deploy/haproxy/") || path.hasPrefix("deploy/nats/") {
            return Array(ServiceLines.repeated(text, for: inventory).utf8)
        }
        return Array(text.utf8)
    }

    private func secret(_ name: String, on machine: Machine) -> [UInt8]? {
        let all = material.installation
        if let own = all["secrets/\(name)"] {
            // Made for the nodes of its day.
            return name == "nats-cluster.conf"
                ? Array(
                    ServiceLines.repeated(String(decoding: own, as: UTF8.self), for: inventory).utf8
                )
                : own
        }
        switch name {
        case "qoe-postgres-password": return all["secrets/postgres-qoe-password"]
        case "grafana-postgres-password": return all["secrets/postgres-reader-password"]
        case "haproxy.pem":
            guard let balancer = machine.services.first(where: { $0.role == .balancer }),
                let certificate = all["certs/\(balancer.name)/cert.pem"],
                let key = all["certs/\(balancer.name)/key.pem"]
            else { return nil }
            return certificate + key
        default: return nil
        }
    }

    private func certificate(
        of service: ComposeService, _ problems: inout [String]
    ) -> [RenderedFile] {
        let folder = "certs/\(service.service.name)"
        for name in ["cert.pem", "key.pem", "ca.pem"]
        where material.installation["\(folder)/\(name)"] == nil {
            problems.append("\(folder)/\(name) is missing; qoectl deploy init makes it")
        }
        return material.installation.filter { $0.key.hasPrefix("\(folder)/") }.map {
            path, content in
            let isSecret = path.hasSuffix("/key.pem") || path.hasSuffix("/bundle.pem")
            return RenderedFile(
                path, content, mode: isSecret ? Self.secretMode : 0o444, owner: service.user)
        }
    }

    private func probeFiles(
        _ service: ComposeService, _ problems: inout [String]
    ) -> [RenderedFile] {
        let name = service.service.name
        return [(".env.probe", UInt32(0)), ("probe-token", service.user), ("ca.pem", service.user)]
            .compactMap { file, owner in
                guard let content = material.installation["probes/\(name)/\(file)"] else {
                    problems.append(
                        "probes/\(name)/\(file) is missing; qoectl deploy probe \(name) makes it")
                    return nil
                }
                return RenderedFile(file, content, mode: Self.secretMode, owner: owner)
            }
    }

    /// Whom a service calls by name, and where: its container knows the addresses of its start.
    private func peers(of service: ComposeService) -> [String] {
        inventory.machines.flatMap { machine in
            PortTable.endpoints(of: machine, in: inventory).filter { endpoint in
                guard case .roles(let roles) = endpoint.callers else {
                    return service.service.role == .balancer && endpoint.service.role == .ingest
                }
                return roles.contains(service.service.role)
            }.map { "\($0.service.name) \(machine.address)" }
        }.sorted()
    }

    /// The machine's variables.
    package func environment(of machine: Machine) -> [String: String] {
        var values: [String: String] = [:]
        for service in machine.services {
            switch service.role {
            case .postgresPrimary, .postgresReplica: values["POSTGRES_NAME"] = service.name
            case .nats: values["NATS_NAME"] = service.name
            case .aggregator: values["AGGREGATOR_NAME"] = service.name
            case .diagnoser: values["DIAGNOSER_NAME"] = service.name
            case .ingest: values["INGEST_NAME"] = service.name
            case .balancer: values["BALANCER_NAME"] = service.name
            default: break
            }
        }
        for endpoint in PortTable.endpoints(of: machine, in: inventory) {
            switch (endpoint.service.role, endpoint.purpose) {
            case (.ingest, "metrics"): values["INGEST_METRICS_PORT"] = "\(endpoint.port)"
            default: break
            }
        }
        let nodes = inventory.services.filter { $0.role == .nats }.count
        // JetStream keeps at most as many copies as there are nodes.
        values["QOE_STREAM_REPLICAS"] = "\(min(3, nodes))"
        values.merge(databaseVariables) { $1 }
        values.merge(material.settings(of: machine)) { $1 }
        values[FleetMaterial.monitoringSetting] = nil
        return values
    }

    /// Where the database differs from what the compose files take for granted: two machines, each with port 5432.
    private var databaseVariables: [String: String] {
        var values: [String: String] = [:]
        let replica = inventory.machines.flatMap { PortTable.endpoints(of: $0, in: inventory) }
            .first { $0.service.role == .postgresReplica }
        if let replica {
            guard let row = PortTable.rows.first(where: { $0.listener == .postgresPrimary }),
                replica.port != row.port
            else { return [:] }
            values["POSTGRES_REPLICA_PORT"] = "\(replica.port)"
            values["POSTGRES_REPLICA_DATA"] = Self.replicaData
            values["POSTGRES_READER_ADDRESS"] = "postgres-replica:\(replica.port)"
        } else {
            values["POSTGRES_READER_ADDRESS"] = "postgres-primary:5432"
        }
        let hosts =
            replica.map { "postgres-primary:5432,postgres-replica:\($0.port)" }
            ?? "postgres-primary"
        let file = material.text(ComposeService.Tier.processing.file) ?? ""
        for name in ["QOE_POSTGRES_URL", "QOE_POSTGRES_READER_URL"] {
            guard let url = FleetMaterial.fallback(of: name, in: file) else { continue }
            values[name] = url.replacing(Self.postgresHosts, with: hosts)
        }
        return values
    }

    /// Beside the primary's on the same machine.
    private static let replicaData = "/var/lib/qoe/postgres-replica"

    /// A compose file in which each of the services has a label with a digest of what it mounts, so that compose
    /// starts it anew when that changes.
    private static func labelled(
        _ text: String, _ digests: [(String, String)], _ problems: inout [String], _ file: String
    ) -> String {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        for (name, digest) in digests {
            var index = lines.firstIndex(of: "  \(name):")
            if index == nil, let service = Service(name), service.role == .nats,
                let first = lines.firstIndex(of: "  nats-1:")
            {
                // The file has three nodes; more are made as the first.
                let rest = lines[(first + 1)...]
                let end = rest.firstIndex { !$0.hasPrefix("   ") } ?? lines.endIndex
                let copy = lines[first..<end].map { Substring($0.replacing("nats-1", with: name)) }
                lines.insert(contentsOf: copy, at: first)
                index = first
            }
            guard let index else {
                problems.append("\(file) has no service \(name); is it that of this version?")
                continue
            }
            lines.insert("    labels: {qoe.files: \"\(digest)\"}", at: index + 1)
        }
        return lines.joined(separator: "\n")
    }
}

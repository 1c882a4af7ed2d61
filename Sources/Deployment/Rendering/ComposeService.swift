/// A service of one of the compose files, as one machine runs it.
package struct ComposeService: Sendable, Hashable {
    /// Whom it is for: its own, or that which it serves on the same machine.
    package let service: Service
    package let tier: Tier
    /// Its name in the compose file.
    package let name: String
    package let phase: Phase
    package let image: ImageVariable
    /// Must be asked for by name.
    package let profile: String?

    /// A compose file, by the middle of its name.
    package enum Tier: String, Sendable, Hashable, CaseIterable {
        case storage
        case natsCluster = "nats-cluster"
        case processing, ingest, probe, monitoring

        package var file: String { "docker-compose.\(rawValue).yml" }
        /// The project's name in the file.
        package var project: String {
            self == .natsCluster ? "qoe-nats" : "qoe-\(rawValue)"
        }
    }

    /// What names an image.
    package enum ImageVariable: String, Sendable, Hashable, CaseIterable {
        case qoe = "QOE_IMAGE"
        case postgres = "POSTGRES_IMAGE"
        case nats = "NATS_IMAGE"
        case haproxy = "HAPROXY_IMAGE"
        case prometheus = "PROMETHEUS_IMAGE"
        case grafana = "GRAFANA_IMAGE"
        case jaeger = "JAEGER_IMAGE"
        case otelCollector = "OTEL_COLLECTOR_IMAGE"
    }

    /// The carrier of connections to NATS over TLS.
    package static let carrierName = "nats-tls"

    /// How messages call it.
    package var label: String {
        name == Self.carrierName ? "\(name) of \(service.name)" : service.name
    }

    /// Where it is found among the machine's containers.
    package var key: String { "\(tier.project)/\(name)" }

    /// What a machine runs, in the order of the start.
    package static func all(of machine: Machine) -> [ComposeService] {
        var result: [ComposeService] = []
        var carried: Set<Tier> = []
        for service in machine.services {
            guard let phase = service.role.phase, let place = place(of: service) else { continue }
            if [.aggregator, .ingest].contains(service.role),
                carried.insert(place.tier).inserted
            {
                result.append(
                    ComposeService(
                        service: service, tier: place.tier, name: carrierName, phase: phase,
                        image: .haproxy, profile: nil))
            }
            result.append(
                ComposeService(
                    service: service, tier: place.tier, name: place.name, phase: phase,
                    image: place.image, profile: service.role == .balancer ? "balancer" : nil))
        }
        return result
    }

    private static func place(
        of service: Service
    ) -> (tier: Tier, name: String, image: ImageVariable)? {
        switch service.role {
        case .postgresPrimary, .postgresReplica: (.storage, service.name, .postgres)
        case .nats: (.natsCluster, service.name, .nats)
        case .aggregator: (.processing, "aggregator", .qoe)
        case .diagnoser: (.processing, "diagnoser", .qoe)
        case .ingest: (.ingest, "ingest", .qoe)
        case .balancer: (.ingest, "haproxy", .haproxy)
        case .probe: (.probe, "probe", .qoe)
        case .prometheus: (.monitoring, "prometheus", .prometheus)
        case .grafana: (.monitoring, "grafana", .grafana)
        case .jaeger: (.monitoring, "jaeger", .jaeger)
        case .otelCollector: (.monitoring, "otel-collector", .otelCollector)
        case .operator: nil
        }
    }

    /// Files of the project that it mounts, by their beginnings.
    var sources: [String] {
        switch (name, service.role) {
        case (Self.carrierName, _): ["deploy/haproxy/nats-"]
        case (_, .postgresPrimary), (_, .postgresReplica): ["deploy/postgres/"]
        case (_, .nats): ["deploy/nats/"]
        case (_, .balancer): ["deploy/haproxy/haproxy.cfg"]
        case (_, .prometheus): ["deploy/prometheus/"]
        case (_, .grafana): ["deploy/grafana/"]
        case (_, .otelCollector): ["deploy/otel/"]
        default: []
        }
    }

    /// The user in its container.
    var user: UInt32 {
        switch service.role {
        case .postgresPrimary, .postgresReplica: 999
        case .nats: 1000
        case .aggregator, .diagnoser, .ingest, .probe: 65_532
        case .grafana: 472
        case .balancer, .prometheus, .jaeger, .otelCollector, .operator: 0
        }
    }

    /// Where it listens for its own machine alone (the compose and HAProxy files say so).
    package var loopbackPorts: [(port: UInt16, purpose: String)] {
        switch (name, tier) {
        case (Self.carrierName, .ingest):
            [(4224, "connections to NATS"), (4234, "its health")]
        case (Self.carrierName, _): [(4225, "connections to NATS"), (4235, "its health")]
        case (_, .ingest) where service.role == .balancer: [(8404, "its health")]
        default: []
        }
    }

    /// Secrets that it mounts.
    var secrets: [String] {
        if name == Self.carrierName { return [] }
        return switch service.role {
        // Either may become the primary.
        case .postgresPrimary, .postgresReplica:
            ["admin", "qoe", "reader", "replication"].map { "postgres-\($0)-password" }
        case .nats: ["nats-accounts.conf", "nats-cluster.conf"]
        case .aggregator: ["qoe-postgres-password", "nats-aggregator-password"]
        case .diagnoser: ["qoe-postgres-password"]
        case .ingest: ["nats-ingest-password"]
        case .balancer: ["haproxy.pem"]
        case .grafana: ["grafana-admin-password", "grafana-postgres-password"]
        case .probe, .prometheus, .jaeger, .otelCollector, .operator: []
        }
    }
}

extension ComposeService {
    /// Whether a change of a file on its machine is a reason to start it anew: it is not if the service does not use the
    /// file, or reads it again by itself.
    func restarts(for file: RenderedFile) -> Bool {
        guard file.path.hasPrefix("certs/") else {
            return !file.path.hasPrefix("secrets/tokens/")
        }
        let isBundle = file.path.hasSuffix("/bundle.pem")
        let isAuthority = file.path.hasSuffix("/ca.pem")
        if name == Self.carrierName { return isBundle || isAuthority }
        return switch service.role {
        case .ingest: false
        // Clients of the database.
        case .aggregator, .diagnoser, .balancer: isAuthority
        default: !isBundle
        }
    }
}

extension Machine {
    package var composeServices: [ComposeService] { ComposeService.all(of: self) }
}

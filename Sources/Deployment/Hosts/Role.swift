/// What a machine does for an installation; the cases stand in the order of the start.
package enum Role: String, Sendable, Hashable, CaseIterable {
    case postgresPrimary = "postgres-primary"
    case postgresReplica = "postgres-replica"
    case nats
    case aggregator
    case diagnoser
    case ingest
    /// HAProxy before several ingest machines.
    case balancer
    case probe
    case prometheus
    case jaeger
    case otelCollector = "otel-collector"
    case grafana
    /// Where people sit who look after the installation: nothing of ours runs there.
    case `operator`

    /// How machines of a role are named.
    package enum Naming: Sendable {
        /// There is one, and the role is its name.
        case single
        /// `nats-1`, `nats-2`…
        case numbered
        /// `probe-` and what the operator likes.
        case free
        /// As ``free``, and the role alone is a name too.
        case freeOrSingle
    }

    package var naming: Naming {
        switch self {
        case .postgresPrimary, .postgresReplica, .prometheus, .jaeger, .otelCollector, .grafana:
            .single
        case .nats, .aggregator, .diagnoser, .ingest, .balancer: .numbered
        case .probe: .free
        case .operator: .freeOrSingle
        }
    }

    /// When it is started; nil where nothing is.
    package var phase: Phase? {
        switch self {
        case .postgresPrimary, .postgresReplica: .storage
        case .nats: .nats
        case .aggregator, .diagnoser: .processing
        case .ingest, .balancer: .ingest
        case .probe: .probes
        case .prometheus, .jaeger, .otelCollector, .grafana: .monitoring
        case .operator: nil
        }
    }

    /// The place in the order of the start.
    var order: Int { Self.allCases.firstIndex(of: self) ?? Self.allCases.count }
}

/// What is started together; each phase needs those before it.
package enum Phase: String, Sendable, Hashable, CaseIterable {
    case storage, nats, processing, ingest, probes, monitoring
}

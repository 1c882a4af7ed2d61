/// Who listens where, and who must reach it: the one place that says so.
///
/// Checks of reachability, firewalls and settings are all made from it. Over loopback a machine
/// reaches itself; that is not in the table.
package enum PortTable {
    /// Who connects to a port.
    package enum Callers: Sendable, Hashable {
        /// Probes and other clients, whose addresses nobody knows beforehand.
        case anyone
        case roles([Role])
    }

    /// When a row holds.
    package enum Condition: Sendable, Hashable {
        case always
        /// When the hosts file names one.
        case with(Role)
        /// When it names none.
        case without(Role)
    }

    /// One port of one role.
    package struct Row: Sendable, Hashable {
        package let listener: Role
        package let port: UInt16
        package let purpose: String
        package let callers: Callers
        package let condition: Condition
        /// On a machine that has that role too, its port stays and this one moves.
        package let moved: Move?

        init(
            _ listener: Role, _ port: UInt16, _ purpose: String, _ callers: Callers,
            _ condition: Condition = .always, moved: Move? = nil
        ) {
            self.listener = listener
            self.port = port
            self.purpose = purpose
            self.callers = callers
            self.condition = condition
            self.moved = moved
        }
    }

    /// Where a port goes when another role on the machine has it.
    package struct Move: Sendable, Hashable {
        package let beside: Role
        package let to: UInt16
    }

    private static let ours: Callers = .roles([.aggregator, .diagnoser, .ingest])

    /// The table; of a listener the most used port first.
    ///
    /// Each PostgreSQL names the other one as a caller: after a failover they change places. A probe's metrics
    /// are missing because nothing reaches into a customer's network.
    package static let rows: [Row] = [
        Row(
            .postgresPrimary, 5432, "SQL",
            .roles([.postgresReplica, .aggregator, .diagnoser, .grafana, .operator])),
        Row(
            .postgresReplica, 5432, "SQL",
            .roles([.postgresPrimary, .aggregator, .diagnoser, .grafana, .operator]),
            moved: Move(beside: .postgresPrimary, to: 5433)),
        Row(.nats, 4222, "clients", .roles([.aggregator, .diagnoser, .ingest, .operator])),
        Row(.nats, 6222, "routes", .roles([.nats])),
        Row(.nats, 8222, "monitoring", .roles([.prometheus])),
        Row(.aggregator, 9091, "metrics", .roles([.prometheus])),
        Row(.diagnoser, 9092, "metrics", .roles([.prometheus])),
        Row(.ingest, 8080, "HTTP API", .anyone),
        Row(
            .ingest, 9090, "metrics", .roles([.prometheus]),
            moved: Move(beside: .prometheus, to: 9190)),
        Row(.balancer, 443, "HTTPS", .anyone),
        Row(.prometheus, 9090, "queries", .roles([.grafana, .operator])),
        Row(.jaeger, 16686, "traces", .roles([.grafana, .operator])),
        Row(.jaeger, 4317, "OTLP over gRPC", ours, .without(.otelCollector)),
        Row(.jaeger, 4318, "OTLP over HTTP", ours, .without(.otelCollector)),
        Row(
            .jaeger, 4317, "OTLP over gRPC", .roles([.otelCollector]), .with(.otelCollector),
            moved: Move(beside: .otelCollector, to: 14317)),
        Row(.otelCollector, 4317, "OTLP over gRPC", ours),
        Row(.otelCollector, 4318, "OTLP over HTTP", ours),
        Row(.grafana, 3000, "dashboards", .roles([.operator])),
    ]

    /// What listens on `machine`.
    package static func endpoints(of machine: Machine, in inventory: Inventory) -> [Endpoint] {
        endpoints(of: machine, isNamed: inventory.has)
    }

    static func endpoints(of machine: Machine, isNamed: (Role) -> Bool) -> [Endpoint] {
        machine.services.flatMap { service in
            rows.filter { $0.listener == service.role && holds($0.condition, isNamed) }.map { row in
                let move = row.moved.flatMap { machine.has($0.beside) ? $0 : nil }
                return Endpoint(
                    service: service, port: move?.to ?? row.port, purpose: row.purpose,
                    callers: row.callers)
            }
        }
    }

    private static func holds(_ condition: Condition, _ isNamed: (Role) -> Bool) -> Bool {
        switch condition {
        case .always: true
        case .with(let role): isNamed(role)
        case .without(let role): !isNamed(role)
        }
    }
}

/// A port on which one service of a machine listens (TCP).
package struct Endpoint: Sendable, Hashable {
    package let service: Service
    package let port: UInt16
    package let purpose: String
    package let callers: PortTable.Callers
}

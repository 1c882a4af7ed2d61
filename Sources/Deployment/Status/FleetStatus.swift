/// How an installation stands: a row for each service of the inventory.
package struct FleetStatus: Sendable {
    package struct Row: Sendable, Hashable {
        package let machine: Machine
        package let service: ComposeService
        /// Nil when it has none, or its machine did not answer.
        package let container: MachineStatus.Container?
        /// `healthy`, …; `missing` without a container, `unreachable` with its machine.
        package let condition: String
        /// Replication, cluster or lag, in few words.
        package let remark: String
        package let isWell: Bool
    }

    package let rows: [Row]
    /// A line each.
    package let problems: [String]

    package var isWell: Bool { problems.isEmpty && rows.allSatisfy(\.isWell) }

    /// Asks all machines.
    package static func ask(
        _ inventory: Inventory, _ material: FleetMaterial, _ shell: any MachineShell
    ) throws(RemoteError) -> FleetStatus {
        let machines = inventory.machines.filter { !material.services(of: $0).isEmpty }
        let answers = inParallel(machines) { machine in
            Result { () throws(RemoteError) in
                MachineStatus(try shell.succeed(StatusScript.text, on: machine).text)
            }
        }
        for case .failure(let error) in answers where error.code == .stopped { throw error }
        return FleetStatus(Array(zip(machines, answers)), material)
    }

    package init(
        _ answers: [(Machine, Result<MachineStatus, RemoteError>)], _ material: FleetMaterial
    ) {
        var problems: [String] = []
        let statuses = answers.compactMap { try? $0.1.get() }
        for (machine, answer) in answers {
            switch answer {
            case .failure(let error): problems.append(error.description)
            case .success(let status):
                if let problem = status.problem { problems.append("\(machine.name): \(problem)") }
            }
        }
        rows = answers.flatMap { machine, answer in
            material.services(of: machine).map { service in
                Self.row(machine, service, try? answer.get(), statuses)
            }
        }
        let databases = statuses.compactMap(\.database)
        let primaries = databases.filter(\.isPrimary).count
        if !databases.isEmpty, primaries == 0 {
            problems.append("no database server is the primary: qoectl db failover")
        } else if primaries > 1 {
            problems.append(
                "\(primaries) database servers are primaries: see docs/failures/database.md")
        }
        let clusters = statuses.compactMap(\.cluster)
        if !clusters.isEmpty, clusters.allSatisfy({ $0.leader == nil }) {
            problems.append(
                "the NATS cluster has no leader: more than half of its nodes must be there")
        }
        self.problems = problems
    }

    private static func row(
        _ machine: Machine, _ service: ComposeService, _ status: MachineStatus?,
        _ all: [MachineStatus]
    ) -> Row {
        guard let status else {
            return Row(
                machine: machine, service: service, container: nil, condition: "unreachable",
                remark: "", isWell: false)
        }
        guard let container = status.containers[service.key] else {
            return Row(
                machine: machine, service: service, container: nil, condition: "missing",
                remark: "", isWell: false)
        }
        let obstacle = obstacle(service, status)
        let remarks = [container.isWell ? obstacle : nil, remark(service, status, all)]
        return Row(
            machine: machine, service: service, container: container,
            condition: container.isWell && obstacle != nil ? "not ready" : container.condition,
            remark: remarks.compactMap(\.self).filter { !$0.isEmpty }.joined(separator: "; "),
            isWell: container.isWell && obstacle == nil)
    }

    /// Why a service that lives cannot do its work; nil when it can.
    private static func obstacle(_ service: ComposeService, _ status: MachineStatus) -> String? {
        if let obstacle = status.obstacles[service.key] { return obstacle }
        guard service.tier == .natsCluster else { return nil }
        guard status.hasJetStream else { return "JetStream is off or does not answer" }
        // A node alone has no cluster and needs no leader.
        return status.cluster.map { $0.leader == nil } == true
            ? "no leader: nothing can be stored" : nil
    }

    private static func remark(
        _ service: ComposeService, _ status: MachineStatus, _ all: [MachineStatus]
    ) -> String {
        switch (service.name, service.service.role) {
        case (ComposeService.carrierName, _): return ""
        case (_, .postgresPrimary), (_, .postgresReplica):
            guard let database = status.database else { return "does not answer" }
            let behind = database.behindBytes.map { ", \($0) bytes behind" } ?? ""
            if database.isPrimary {
                return
                    "primary, \(database.streams) replica\(database.streams == 1 ? "" : "s")\(behind)"
            }
            return database.streams > 0 ? "replica, streams\(behind)" : "replica, does not stream"
        case (_, .nats):
            guard let cluster = status.cluster else { return "" }
            guard let leader = cluster.leader else { return "" }
            let missing =
                cluster.missing.isEmpty ? "" : ", misses \(cluster.missing.joined(separator: " "))"
            return leader == service.service.name
                ? "leader of \(cluster.size)\(missing)" : "follows \(leader)"
        case (_, .aggregator):
            return all.flatMap(\.lags).map { lag in
                let behind =
                    lag.behindSeconds.map { "\(Int(max(0, min($0, 1e9)))) s behind" } ?? "-"
                return "\(lag.stream) \(behind)"
                    + (lag.unowned > 0 ? ", \(lag.unowned) partitions of nobody" : "")
            }.joined(separator: "; ")
        default: return ""
        }
    }
}

internal import Foundation

/// What runs on a machine and how it stands, as it said.
package struct MachineStatus: Sendable, Equatable {
    package struct Container: Sendable, Hashable {
        package let image: String
        /// Such as `running`, `exited`.
        package let state: String
        /// `healthy`, `starting`, `unhealthy`; `none` when it has no check.
        package let health: String
        package let restarts: Int
        /// RFC 3339.
        package let startedAt: String

        package var isWell: Bool {
            state == "running" && (health == "healthy" || health == "none")
        }
        /// One word.
        package var condition: String {
            state == "running" ? (health == "none" ? state : health) : state
        }
    }

    /// A database server.
    package struct Database: Sendable, Hashable {
        package let isPrimary: Bool
        /// Of a primary, replicas that stream; of a replica, whether it does.
        package let streams: Int
        /// By how much of the log the worst replica, or this one, is behind; nil when nobody follows.
        package let behindBytes: Int64?
    }

    /// How far a stream of events is counted.
    package struct Lag: Sendable, Hashable {
        package let stream: String
        package let behindSeconds: Double?
        /// Partitions that nobody counts.
        package let unowned: Int
    }

    /// A node's view of the cluster.
    package struct Cluster: Sendable, Hashable {
        /// Nil while there is none: nothing can be stored.
        package let leader: String?
        package let size: Int
        /// Other nodes that it does not hear, or that lag.
        package let missing: [String]
    }

    /// By project and service.
    package var containers: [String: Container] = [:]
    /// Why a program that lives cannot do its work, by project and service.
    package var obstacles: [String: String] = [:]
    package var database: Database?
    package var lags: [Lag] = []
    package var cluster: Cluster?
    /// Whether a NATS node says that its JetStream works, alone or in a cluster.
    package var hasJetStream = false
    /// Why Docker said nothing.
    package var problem: String?

    /// Reads the answer to ``StatusScript``; what is not understood is left alone.
    package init(_ answer: String) {
        var isLag = false
        for line in answer.split(separator: "\n") {
            var parts = line.split(separator: "\t", omittingEmptySubsequences: false)
                .map(String.init)
            if parts[0] == "lag" {
                isLag = true
                parts.removeFirst()
            } else if ["container", "ready", "postgres", "nats", "problem"].contains(parts[0]) {
                isLag = false
            }
            if isLag { read(lag: parts) } else { read(parts) }
        }
    }

    /// From a node's `/jsz`.
    private static func hasJetStream(json: String) -> Bool {
        struct Answer: Decodable { let disabled: Bool? }
        let answer = try? JSONDecoder().decode(Answer.self, from: Data(json.utf8))
        return answer.map { $0.disabled != true } ?? false
    }

    private mutating func read(lag parts: [String]) {
        guard parts.count >= 3, !parts[0].isEmpty else { return }
        lags.append(
            Lag(
                stream: PrintableText.line(parts[0]), behindSeconds: Double(parts[1]),
                unowned: Int(parts[2]) ?? 0))
    }

    private mutating func read(_ parts: [String]) {
        func part(_ index: Int) -> String {
            index < parts.count ? PrintableText.line(parts[index]) : ""
        }
        switch parts[0] {
        case "container":
            containers[part(1)] = Container(
                image: part(2), state: part(3), health: part(4), restarts: Int(part(5)) ?? 0,
                startedAt: part(6))
        case "ready": if !part(2).isEmpty { obstacles[part(1)] = part(2) }
        case "postgres":
            guard ["primary", "standby"].contains(part(1)) else { return }
            database = Database(
                isPrimary: part(1) == "primary", streams: Int(part(2)) ?? 0,
                behindBytes: Int64(part(3)))
        case "nats":
            cluster = parts.count > 1 ? Cluster(json: parts[1]) : nil
            hasJetStream = parts.count > 1 && Self.hasJetStream(json: parts[1])
        case "problem": problem = part(1)
        default: break
        }
    }
}

extension MachineStatus.Cluster {
    /// From a node's `/jsz`.
    init?(json: String) {
        struct Answer: Decodable {
            struct Meta: Decodable {
                struct Peer: Decodable {
                    let name: String
                    let current: Bool?
                    let offline: Bool?
                }
                let leader: String?
                let cluster_size: Int?
                let replicas: [Peer]?
            }
            let meta_cluster: Meta?
        }
        guard let answer = try? JSONDecoder().decode(Answer.self, from: Data(json.utf8)),
            let meta = answer.meta_cluster
        else { return nil }
        let leader = meta.leader.map(PrintableText.line)
        self.init(
            leader: leader?.isEmpty == true ? nil : leader, size: meta.cluster_size ?? 0,
            missing: (meta.replicas ?? []).filter { $0.offline == true || $0.current == false }
                .map { PrintableText.line($0.name) })
    }
}

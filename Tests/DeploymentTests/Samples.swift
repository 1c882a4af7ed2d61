import Deployment
import Foundation

/// The hosts file that the project shows.
let exampleHosts: String = {
    let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    return (try? String(contentsOf: root.appending(path: "hosts.example"), encoding: .utf8)) ?? ""
}()

/// An installation on one machine, with any lines added.
func onOneMachine(_ more: String...) -> String {
    (["192.0.2.1 postgres-primary nats-1 aggregator-1 diagnoser-1 ingest-1"] + more)
        .joined(separator: "\n")
}

/// What is wrong with a hosts file, as `qoectl` prints it; warnings too when there are errors.
func problems(_ text: String) -> [String] {
    do throws(HostsError) {
        return try Inventory(text).warnings.map { $0.text(file: "hosts") }
    } catch {
        return error.problems.map { $0.text(file: "hosts") }
    }
}

func isRefused(_ text: String) -> Bool {
    (try? Inventory(text)) == nil
}

/// The project's own files, and for each secret and certificate something.
func sampleMaterial(for inventory: Inventory) -> FleetMaterial {
    let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
    var sources: [String: [UInt8]] = [:]
    func read(_ path: String) {
        if let data = FileManager.default.contents(atPath: "\(root)/\(path)") {
            sources[path] = Array(data)
        }
    }
    for tier in ComposeService.Tier.allCases { read(tier.file) }
    for case let path as String in FileManager.default.enumerator(atPath: "\(root)/deploy")
        ?? FileManager.DirectoryEnumerator()
    {
        read("deploy/\(path)")
    }
    var own: [String: [UInt8]] = ["certs/ca.key": Array("signs".utf8)]
    let secrets = [
        "postgres-admin-password", "postgres-qoe-password", "postgres-reader-password",
        "postgres-replication-password", "nats-ingest-password", "nats-aggregator-password",
        "nats-accounts.conf", "grafana-admin-password", "tokens/tokens.jsonl",
        "tokens/tokens.jsonl.pepper", "tokens/tokens.jsonl.lock",
    ]
    for name in secrets { own["secrets/\(name)"] = Array("secret \(name)".utf8) }
    own["secrets/nats-cluster.conf"] = Array(
        "routes: [\n    \"nats-route://route:x@nats-1:6222\"\n]\n".utf8)
    for service in inventory.services {
        for name in ["cert.pem", "key.pem", "ca.pem", "bundle.pem"] {
            own["certs/\(service.name)/\(name)"] = Array("\(name) of \(service.name)".utf8)
        }
        for name in [".env.probe", "probe-token", "ca.pem"] where service.role == .probe {
            own["probes/\(service.name)/\(name)"] = Array("\(name)\n".utf8)
        }
    }
    return FleetMaterial(sources: sources, installation: own)
}

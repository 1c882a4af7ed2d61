import Foundation
import TestKit
import Testing

/// Runs `body` with the path of a file that holds `text`.
func withFile<Result>(_ text: String, _ body: (String) throws -> Result) throws -> Result {
    try withTemporaryFolder { folder in
        try text.write(toFile: "\(folder)/hosts", atomically: true, encoding: .utf8)
        return try body("\(folder)/hosts")
    }
}

private let installation = """
    192.0.2.11 postgres-primary nats-1
    192.0.2.31 aggregator-1 diagnoser-1
    192.0.2.41 ingest-1 ingest.example
    192.0.2.51 prometheus operator
    """

@Suite struct DeployCommandTests {
    @Test func `a plan says what runs where, and what the writer may not want`() throws {
        try withFile(installation) { hosts in
            let plan = try Qoectl.run(["deploy", "plan", "--hosts", hosts])
            #expect(plan.code == 0, "\(plan)")
            #expect(
                plan.output == """
                    PHASE       SERVICE           MACHINE           ADDRESS     LISTENS
                    storage     postgres-primary  postgres-primary  192.0.2.11  5432 SQL
                    nats        nats-1            postgres-primary  192.0.2.11  4222 clients, 6222 routes, 8222 monitoring
                    processing  aggregator-1      aggregator-1      192.0.2.31  9091 metrics
                                diagnoser-1       aggregator-1      192.0.2.31  9092 metrics
                    ingest      ingest-1          ingest-1          192.0.2.41  8080 HTTP API, 9090 metrics
                    monitoring  prometheus        prometheus        192.0.2.51  9090 queries
                    6 services on 4 machines

                    """)
            #expect(plan.complaints.hasPrefix("\(hosts): warning: no postgres-replica"))

            let document = try Qoectl.run([
                "deploy", "plan", "--hosts", hosts, "--json", "--machine", "ingest.example",
            ]).object()
            let machines = try #require(document["machines"] as? [[String: Any]])
            #expect(machines.map { $0["name"] as? String } == ["ingest-1"])
            #expect((document["steps"] as? [Any])?.count == 1)
            let paths = try #require(document["reachability"] as? [[String: Any]])
            let texts = paths.map { path in
                "\(path["from"] as? String ?? "anyone") \(path["to"] ?? "") \(path["port"] ?? "")"
            }
            #expect(
                texts == [
                    "ingest-1 postgres-primary 4222", "anyone ingest-1 8080",
                    "prometheus ingest-1 9090",
                ])
            #expect((document["warnings"] as? [String])?.count == 2)
        }
    }

    @Test func `the firewall is a table for people and a script for a machine`() throws {
        try withFile(installation) { hosts in
            let command = ["deploy", "firewall", "--hosts", hosts]
            let table = try Qoectl.run(command)
            #expect(table.code == 0, "\(table)")
            #expect(table.output.contains("anyone"))
            let script = try Qoectl.run(command + ["--machine", "ingest-1"])
            #expect(script.output.hasPrefix("#!/bin/sh\n"), "\(script)")
            #expect(script.output.contains("-A QOE -s 192.0.2.51 -p tcp -m tcp --dport 9090"))
            let table4 = try Qoectl.run(
                command + ["--machine", "192.0.2.41", "--format", "nftables"])
            #expect(table4.output.contains("ip saddr 192.0.2.51 tcp dport 9090 accept"))
            let document = try Qoectl.run(command + ["--machine", "ingest-1", "--json"])
            let machines = try JSONSerialization.jsonObject(with: Data(document.output.utf8))
            let rules = (machines as? [[String: Any]])?.first?["rules"] as? [[String: Any]]
            #expect(rules?.map { $0["action"] as? String } == ["pass", "pass", "drop"])

            #expect(try Qoectl.run(command + ["--format", "nftables"]).code == 64)
            let unknown = try Qoectl.run(command + ["--machine", "nats-9"])
            #expect(unknown.code == 64)
            #expect(unknown.complaints.contains("no machine is called nats-9; there are postgres-"))
        }
    }

    @Test func `a wrong hosts file has a line for each problem, and a code of its own`() throws {
        try withFile("192.0.2.300 nats-1\n192.0.2.2 graphana postgres-primary ingest-1\n") {
            hosts in
            for arguments in [
                ["deploy", "plan"], ["deploy", "firewall"],
                ["certs", "init", "--out", "\(hosts)-certificates"],
            ] {
                let outcome = try Qoectl.run(arguments + ["--hosts", hosts])
                #expect(outcome.code == 78, "\(outcome)")
                #expect(outcome.output.isEmpty)
                let lines = outcome.complaints.split(separator: "\n")
                #expect(lines.count == 5, "\(outcome)")
                #expect(lines.allSatisfy { $0.hasPrefix(hosts) })
                #expect(lines.first?.hasPrefix("\(hosts):1: '192.0.2.300' is not") == true)
            }
            #expect(!FileManager.default.fileExists(atPath: "\(hosts)-certificates"))
        }
        let missing = try Qoectl.run(["deploy", "plan", "--hosts", "/nonexistent/hosts"])
        #expect(missing.code == 78)
        #expect(missing.complaints.contains("/nonexistent/hosts: there is no such file; name"))
    }
}

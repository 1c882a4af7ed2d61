import Deployment
import Foundation
import TestKit
import Testing

/// A machine's rules as one of the two programs that apply them reads them.
private enum RuleText: CaseIterable {
    case iptables, nftables

    struct Line {
        let source: String?
        let port: UInt16
        let verdict: String
    }

    /// The lines that speak of ports, for packets of one family.
    func lines(_ rules: FirewallRules, _ family: HostAddress.Family) -> [Line] {
        let text = self == .iptables ? rules.iptablesRestore(family) : rules.nftables
        return text.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ").map(String.init)
            func word(after mark: String) -> String? {
                words.firstIndex(of: mark).flatMap {
                    $0 + 1 < words.count ? words[$0 + 1] : nil
                }
            }
            switch self {
            case .iptables:
                guard let port = word(after: "--dport").flatMap(UInt16.init) else { return nil }
                return Line(
                    source: word(after: "-s"), port: port,
                    verdict: word(after: "-j") == "RETURN" ? "pass" : "drop")
            case .nftables:
                let other = family == .ipv4 ? "ip6" : "ip"
                guard let port = word(after: "dport").flatMap(UInt16.init), words.first != other
                else { return nil }
                return Line(
                    source: word(after: "saddr"), port: port,
                    verdict: words.contains("accept") ? "pass" : "drop")
            }
        }
    }
}

/// An installation of a random shape, without errors.
private func randomHosts(_ generator: inout SeededGenerator) -> String {
    let isSixth = Bool.random(using: &generator)
    func address(_ number: Int) -> String { isSixth ? "2001:db8::\(number)" : "192.0.2.\(number)" }
    var lines = ["\(address(1)) postgres-primary"]
    for node in 1...([1, 3, 5].randomElement(using: &generator) ?? 1) {
        lines.append("\(address(10 + node)) nats-\(node)")
    }
    for role in ["aggregator", "diagnoser", "ingest"] {
        for number in 1...Int.random(in: 1...3, using: &generator) {
            // Different roles may share one of three machines, or one with NATS.
            lines.append("\(address(10 + number)) \(role)-\(number)")
        }
    }
    let singles = [
        "postgres-replica", "prometheus", "grafana", "jaeger", "otel-collector", "operator",
        "probe-a",
    ]
    for name in singles where Bool.random(using: &generator) {
        lines.append("\(address(Int.random(in: 1...22, using: &generator))) \(name)")
    }
    return lines.shuffled(using: &generator).joined(separator: "\n")
}

@Suite struct FirewallTests {
    @Test func `the rules let those through who must, and nobody else`() throws {
        let seed = UInt64.random(in: .min ... .max)
        var generator = SeededGenerator(seed: seed)
        let allPorts = Set(PortTable.rows.flatMap { [$0.port] + ($0.moved.map { [$0.to] } ?? []) })
        let strangers = try ["203.0.113.9", "2001:db8:9::9"].map { try #require(HostAddress($0)) }
        for _ in 0..<30 {
            let text = randomHosts(&generator)
            let inventory = try Inventory(text)
            let reachability = inventory.reachability
            for machine in inventory.machines {
                let rules = FirewallRules(for: machine, in: inventory)
                let ours = Set(PortTable.endpoints(of: machine, in: inventory).map(\.port))
                #expect(Set(rules.rules.map(\.port)) == ours, "seed \(seed)")
                let must = reachability.filter { $0.listener == machine }
                let callers = inventory.machines.filter { $0 != machine }.map(\.address) + strangers
                for form in RuleText.allCases {
                    let (fourth, sixth) = (form.lines(rules, .ipv4), form.lines(rules, .ipv6))
                    for caller in callers {
                        let own = caller.family == .ipv4 ? fourth : sixth
                        for port in allPorts.union([22, 53, 443]) {
                            let mustPass = must.contains {
                                $0.endpoint.port == port
                                    && ($0.caller == nil || $0.caller?.address == caller)
                            }
                            // The first that fits decides.
                            let verdict = own.first {
                                $0.port == port && ($0.source == nil || $0.source == caller.text)
                            }?.verdict
                            #expect(
                                verdict == (mustPass ? "pass" : ours.contains(port) ? "drop" : nil),
                                "seed \(seed): \(form), \(caller) to \(machine.name):\(port) of\n\(text)"
                            )
                        }
                    }
                }
            }
        }
    }

    @Test func `who must reach whom is what the programs need`() throws {
        let inventory = try Inventory(exampleHosts)
        let found = Set(
            inventory.reachability.map { reach in
                "\(reach.caller?.name ?? "anyone") \(reach.listener.name) \(reach.endpoint.port)"
            })
        var expected: Set<String> = []
        func pass(_ callers: [String], _ listeners: [String], _ ports: Int...) {
            for caller in callers {
                for listener in listeners where listener != caller {
                    for port in ports { expected.insert("\(caller) \(listener) \(port)") }
                }
            }
        }
        // Machines are called by their first service: aggregator-1 is the diagnoser too, prometheus Grafana and Jaeger.
        let nats = ["nats-1", "nats-2", "nats-3"]
        let databases = ["postgres-primary", "postgres-replica"]
        let counting = ["aggregator-1", "aggregator-2"]
        let doors = ["ingest-1", "ingest-2"]
        pass(["anyone"], doors, 8080)
        pass(counting + doors + ["operator"], nats, 4222)
        pass(nats, nats, 6222)
        pass(counting + ["prometheus", "operator"] + databases, databases, 5432)
        pass(["prometheus"], nats, 8222)
        pass(["prometheus"], counting, 9091)
        pass(["prometheus"], ["aggregator-1"], 9092)
        pass(["prometheus"], doors, 9090)
        pass(counting + doors, ["prometheus"], 4317, 4318)
        pass(["operator"], ["prometheus"], 3000, 9090, 16686)
        #expect(found == expected, "\(found.symmetricDifference(expected).sorted())")
    }

    @Test func `with a collector, traces reach Jaeger through it alone`() throws {
        let inventory = try Inventory(
            onOneMachine("192.0.2.2 jaeger", "192.0.2.3 otel-collector"))
        let traces = inventory.reachability.filter { (4317...4318).contains($0.endpoint.port) }
        #expect(
            traces.map { "\($0.caller?.name ?? "") \($0.listener.name) \($0.endpoint.port)" } == [
                "otel-collector jaeger 4317", "postgres-primary otel-collector 4317",
                "postgres-primary otel-collector 4318",
            ])
    }

    @Test func `a machine's rules for iptables are a chain of our own`() throws {
        let inventory = try Inventory(onOneMachine("192.0.2.2 prometheus"))
        let machine = try #require(inventory.machine(called: "prometheus"))
        let rules = FirewallRules(for: machine, in: inventory)
        #expect(
            rules.iptablesRestore(.ipv4) == """
                *filter
                :QOE - [0:0]
                -F QOE
                -A QOE -i lo -j RETURN
                -A QOE -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
                -A QOE -p tcp -m tcp --dport 9090 -m comment --comment "others to prometheus queries" -j DROP
                COMMIT

                """)
        #expect(
            rules.nftables.hasSuffix(
                """
                table inet qoe
                delete table inet qoe
                table inet qoe {
                    chain input {
                        type filter hook input priority -1; policy accept;
                        iifname "lo" accept
                        ct state established,related accept
                        tcp dport 9090 drop comment "others to prometheus queries"
                    }
                }

                """))
    }

    @Test func `a long list of callers is cut in the comment, not in the rules`() throws {
        let probes = (1...60).map { "operator-with-a-long-name-\($0)" }.joined(separator: " ")
        let inventory = try Inventory(onOneMachine("192.0.2.2 \(probes)"))
        let machine = try #require(inventory.machines.first)
        let text = FirewallRules(for: machine, in: inventory).iptablesRestore(.ipv4)
        #expect(text.contains("..."))
        #expect(text.split(separator: "\n").allSatisfy { $0.utf8.count < 255 })
    }
}

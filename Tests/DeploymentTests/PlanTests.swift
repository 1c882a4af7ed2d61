import Deployment
import TestKit
import Testing

@Suite struct PlanTests {
    @Test func `services start in the order of what they need`() throws {
        let steps = DeploymentPlan(try Inventory(exampleHosts)).steps
        #expect(
            steps.map { "\($0.phase.rawValue) \($0.service.name) \($0.machine.address)" } == [
                "storage postgres-primary 192.0.2.11", "storage postgres-replica 192.0.2.12",
                "nats nats-1 192.0.2.21", "nats nats-2 192.0.2.22", "nats nats-3 192.0.2.23",
                "processing aggregator-1 192.0.2.31", "processing aggregator-2 192.0.2.32",
                "processing diagnoser-1 192.0.2.31", "ingest ingest-1 192.0.2.41",
                "ingest ingest-2 192.0.2.42", "probes probe-berlin-1 198.51.100.7",
                "monitoring prometheus 192.0.2.51", "monitoring jaeger 192.0.2.51",
                "monitoring grafana 192.0.2.51",
            ])
        let phases = steps.compactMap { Phase.allCases.firstIndex(of: $0.phase) }
        #expect(phases == phases.sorted())
    }

    @Test func `the order of the lines does not matter`() throws {
        let seed = UInt64.random(in: .min ... .max)
        var generator = SeededGenerator(seed: seed)
        let lines = exampleHosts.split(separator: "\n")
        let plan = DeploymentPlan(try Inventory(exampleHosts))
        for _ in 0..<20 {
            let shuffled = lines.shuffled(using: &generator).joined(separator: "\n")
            let other = DeploymentPlan(try Inventory(shuffled))
            #expect(other.steps.map(\.service) == plan.steps.map(\.service), "seed \(seed)")
            #expect(other.steps.map(\.endpoints) == plan.steps.map(\.endpoints), "seed \(seed)")
        }
    }

    @Test func `ten nodes stand in the order of their numbers, and operators run nothing`() throws {
        let lines = (1...10).reversed().map { "192.0.2.\(100 + $0) ingest-\($0)" }
        let text =
            lines.joined(separator: "\n")
            + "\n192.0.2.1 postgres-primary nats-1 aggregator-1 operator"
        let names = DeploymentPlan(try Inventory(text)).steps.map(\.service.name)
        #expect(
            names == ["postgres-primary", "nats-1", "aggregator-1"]
                + (1...10).map { "ingest-\($0)" })
    }

    @Test func `on a machine that has both, one of two equal ports moves`() throws {
        let inventory = try Inventory(
            onOneMachine("192.0.2.1 postgres-replica prometheus grafana jaeger otel-collector"))
        let machine = try #require(inventory.machines.first)
        let endpoints = PortTable.endpoints(of: machine, in: inventory)
        #expect(Set(endpoints.map(\.port)).count == endpoints.count)
        func port(_ service: String, _ purpose: String) -> UInt16? {
            endpoints.first { $0.service.name == service && $0.purpose == purpose }?.port
        }
        #expect(port("ingest-1", "metrics") == 9190)
        #expect(port("prometheus", "queries") == 9090)
        #expect(port("postgres-replica", "SQL") == 5433)
        #expect(port("jaeger", "OTLP over gRPC") == 14317)
        #expect(port("otel-collector", "OTLP over gRPC") == 4317)
    }

    @Test func `each service has a certificate with its own name and no other's`() throws {
        let inventory = try Inventory(onOneMachine("192.0.2.1 host.example", "192.0.2.2 probe-a"))
        let requests = inventory.certificateRequests
        #expect(requests.map(\.service) == inventory.services)
        #expect(
            requests.first { $0.service.name == "nats-1" }?.names == [
                "nats-1", "host.example", "192.0.2.1",
            ])
        #expect(requests.last?.names == ["probe-a", "192.0.2.2"])
    }

    @Test func `a certificate is made anew when it does not serve any more`() throws {
        let request = try #require(try Inventory(onOneMachine()).certificateRequests.first)
        let day: Int64 = 86_400
        func reason(
            _ names: [String]? = nil, days: Int64 = 365, ours: Bool = true, fits: Bool = true
        ) -> String? {
            request.reasonToMake(
                CertificateRequest.Facts(
                    names: Set(names ?? request.names), expiresAtSeconds: 1000 + days * day,
                    isOfAuthority: ours, fitsKey: fits), nowSeconds: 1000)
        }
        #expect(request.reasonToMake(nil, nowSeconds: 0) == "missing")
        #expect(reason() == nil)
        #expect(reason(days: 30) == nil)
        #expect(reason(days: 29) == "expiring")
        #expect(reason(days: -1) == "expiring")
        #expect(reason(["postgres-primary"]) == "for other names")
        #expect(reason(ours: false) == "of another authority")
        #expect(reason(fits: false) == "without its key")
        #expect(CertificateRequest.isEnding(.min, nowSeconds: .max))
    }
}

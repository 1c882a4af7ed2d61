import Testing

@testable import Deployment

@Suite struct FleetStatusTests {
    private let inventory: Inventory
    private let material = FleetMaterial(sources: [:], installation: [:])

    init() throws {
        inventory = try Inventory(exampleHosts)
    }

    private func machine(_ name: String) throws -> Machine {
        try #require(inventory.machine(called: name))
    }

    private func container(_ key: String, _ health: String = "healthy") -> String {
        "container\t\(key)\tqoe:1\trunning\t\(health)\t2\t2026-11-21T20:00:00.123456789Z\n"
    }

    @Test func `an answer is read`() {
        let status = MachineStatus(
            container("qoe-storage/postgres-primary")
                + "postgres\tprimary\t1\t312\t\nlag\tevents\t2.5\t0\nheartbeats\t1\t3\t\n")
        #expect(status.containers["qoe-storage/postgres-primary"]?.restarts == 2)
        #expect(status.database == .init(isPrimary: true, streams: 1, behindBytes: 312))
        #expect(
            status.lags == [
                .init(stream: "events", behindSeconds: 2.5, unowned: 0),
                .init(stream: "heartbeats", behindSeconds: 1, unowned: 3),
            ])
    }

    @Test func `a node tells who leads and whom it misses`() {
        let json = """
            {"meta_cluster":{"name":"qoe","leader":"nats-1","cluster_size":3,"replicas":[\
            {"name":"nats-2","current":true},{"name":"nats-3","current":false,"offline":true}]}}
            """
        let cluster = MachineStatus.Cluster(json: json)
        #expect(cluster?.leader == "nats-1")
        #expect(cluster?.size == 3)
        #expect(cluster?.missing == ["nats-3"])
        #expect(MachineStatus.Cluster(json: "{}") == nil)
        #expect(MachineStatus.Cluster(json: "<html>") == nil)
        #expect(MachineStatus.Cluster(json: #"{"meta_cluster":{"leader":""}}"#)?.leader == nil)
    }

    @Test func `a service without a container and a machine without an answer are not well`() throws
    {
        let nats = try machine("nats-1")
        let ingest = try machine("ingest-1")
        let status = FleetStatus(
            [
                (nats, .success(MachineStatus(""))),
                (ingest, .failure(RemoteError(.unreachable, ingest, "no route"))),
            ], material)
        #expect(Set(status.rows.map(\.condition)) == ["missing", "unreachable"])
        #expect(status.problems == [RemoteError(.unreachable, ingest, "no route").description])
        #expect(!status.isWell)
    }

    @Test func `an unhealthy container is not well and a healthy one is`() throws {
        let nats = try machine("nats-1")
        func isWell(_ health: String) -> Bool {
            FleetStatus(
                [
                    (
                        nats,
                        .success(
                            MachineStatus(container("qoe-nats/nats-1", health) + "nats\t{}\n"))
                    )
                ], material
            ).isWell
        }
        #expect(isWell("healthy"))
        #expect(isWell("none"))
        #expect(!isWell("unhealthy"))
        #expect(!isWell("starting"))
    }

    @Test(arguments: [
        ("{}", nil), (#"{"meta_cluster":{"leader":"nats-2","cluster_size":3}}"#, nil),
        (#"{"meta_cluster":{"leader":"","cluster_size":3}}"#, "no leader: nothing can be stored"),
        (#"{"disabled":true}"#, "JetStream is off or does not answer"),
        ("", "JetStream is off or does not answer"),
    ])
    func `a node that lives and cannot store is not well`(json: String, obstacle: String?) throws {
        let answer = container("qoe-nats/nats-1") + "nats\t\(json)\n"
        let row = FleetStatus(
            [(try machine("nats-1"), .success(MachineStatus(answer)))], material
        ).rows.first
        #expect(row?.isWell == (obstacle == nil))
        #expect(row?.condition == (obstacle == nil ? "healthy" : "not ready"))
        if let obstacle { #expect(row?.remark == obstacle) }
    }

    @Test func `a program that lives and is not ready is not well, and says why`() throws {
        let answer =
            container("qoe-ingest/ingest") + container("qoe-ingest/nats-tls")
            + "ready\tqoe-ingest/ingest\tnats: no connection\n"
        let status = FleetStatus(
            [(try machine("ingest-1"), .success(MachineStatus(answer)))], material)
        let row = status.rows.first { $0.service.name == "ingest" }
        #expect(row?.condition == "not ready")
        #expect(row?.remark == "nats: no connection")
        #expect(!status.isWell)
    }

    @Test func `no primary and two primaries are told`() throws {
        func problems(_ first: String, _ second: String) throws -> [String] {
            FleetStatus(
                [
                    (
                        try machine("postgres-primary"),
                        .success(MachineStatus("postgres\t\(first)\t1\t0\n"))
                    ),
                    (
                        try machine("postgres-replica"),
                        .success(MachineStatus("postgres\t\(second)\t1\t0\n"))
                    ),
                ], material
            ).problems
        }
        #expect(try problems("primary", "standby") == [])
        #expect(try problems("standby", "primary") == [])
        #expect(try problems("standby", "standby").first?.contains("qoectl db failover") == true)
        #expect(try problems("primary", "primary").first?.contains("2 database servers") == true)
    }

    @Test func `how far the aggregators are stands in their rows`() throws {
        let status = FleetStatus(
            [
                (try machine("postgres-primary"), .success(MachineStatus("lag\tevents\t2.5\t1\n"))),
                (
                    try machine("aggregator-1"),
                    .success(MachineStatus(container("qoe-processing/aggregator")))
                ),
            ], material)
        let row = status.rows.first { $0.service.name == "aggregator" }
        #expect(row?.remark == "events 2 s behind, 1 partitions of nobody")
    }
}

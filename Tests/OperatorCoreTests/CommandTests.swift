import Foundation
import Postgres
import Store
import Telemetry
import TestKit
import Testing

private func qoectl(_ arguments: String..., nats: String, postgres: String) throws -> Outcome {
    try Qoectl.run(arguments + ["--nats-url", nats, "--postgres-url", postgres])
}

@Test func `qoectl says by its exit code and in JSON what it found`() throws {
    try Platform.run { platform in
        let (nats, postgres) = (platform.natsURL, platform.postgresURL)
        try platform.publish([event("numbered", 1, at: now(), number: 1)])
        try platform.publish([event("legacy", 2, at: 0)])
        try platform.publish(Array("nonsense".utf8), partition: 0)
        try platform.aggregate(
            until: "SELECT count(*) FROM dead_letters WHERE forwarded_at IS NOT NULL", is: 2)

        let equal = try qoectl("verify", nats: nats, postgres: postgres)
        #expect(equal.code == 0, "\(equal)")
        #expect(equal.output.contains("equal: the tables are what the stream says"))
        #expect(equal.complaints.isEmpty)

        let partitions = try qoectl("partitions", "--json", nats: nats, postgres: postgres)
        #expect(partitions.code == 0, "\(partitions)")
        let listed = try partitions.object()["partitions"] as? [[String: Any]]
        #expect((listed?.count ?? 0) >= 4)
        #expect(listed?.allSatisfy { $0["lag_messages"] as? Int == 0 } == true)
        let table = try qoectl("partitions", nats: "nats://127.0.0.1:1", postgres: postgres)
        #expect(table.code == 0)
        #expect(table.output.contains("the lag is unknown: cannot reach NATS"))
        let lost = try qoectl("partitions", "--lost", nats: nats, postgres: postgres)
        #expect(lost.output == "nothing was ever lost\n")

        let letters = try qoectl("dlq", "list", nats: nats, postgres: postgres)
        #expect(letters.code == 0, "\(letters)")
        #expect(letters.output.contains("timestamp_out_of_range"))
        let none = try qoectl("dlq", "list", "--reason", "none", nats: nats, postgres: postgres)
        #expect(none.output == "no dead letters\n")
        let shown = try qoectl(
            "dlq", "show", "TELEMETRY_EVENTS/0/3", nats: nats, postgres: postgres)
        #expect(shown.code == 0, "\(shown)")
        #expect(shown.output.contains("|nonsense|"))
        let dry = try qoectl(
            "dlq", "replay", "TELEMETRY_EVENTS/0/3", "--dry-run", nats: nats, postgres: postgres)
        #expect(dry.code == 0, "\(dry)")
        #expect(dry.output.contains("would publish 8 bytes to telemetry.events.0"))
        #expect(dry.output.contains("it will become a dead letter again"))
        let replay = try qoectl(
            "dlq", "replay", "partition:0", "--json", nats: nats, postgres: postgres)
        #expect(replay.code == 0, "\(replay)")
        #expect(replay.output.contains(#""sequence" : 4"#))
        let twice = try qoectl(
            "dlq", "replay", "TELEMETRY_EVENTS/0/3", nats: nats, postgres: postgres)
        #expect(twice.code == 1)
        #expect(twice.output.contains("--again"))
        let misspelt = try qoectl("dlq", "show", "x", nats: nats, postgres: postgres)
        #expect(misspelt.code == 64)

        try platform.database.execute("UPDATE agg_1m SET late_count = 7")
        let different = try qoectl("verify", nats: nats, postgres: postgres)
        #expect(different.code == 1, "\(different)")
        #expect(different.output.contains("  stream  late_count=0\n  table   late_count=7\n"))
        let document = try qoectl(
            "verify", "--json", "--limit", "0", nats: nats, postgres: postgres)
        #expect(document.code == 1)
        #expect(try document.object()["result"] as? String == "different")
        #expect(try document.object()["difference_count"] as? Int == 1)
        #expect((try document.object()["differences"] as? [Any])?.isEmpty == true)
    }
}

@Test func `qoectl says what to do when servers are missing`() throws {
    try withPostgres { postgres in
        let nowhere = "nats://127.0.0.1:1"
        for arguments in [["partitions"], ["verify"], ["dlq", "list"]] {
            let outcome =
                arguments.count == 1
                ? try qoectl(arguments[0], nats: nowhere, postgres: postgres)
                : try qoectl(arguments[0], arguments[1], nats: nowhere, postgres: postgres)
            #expect(outcome.code == (arguments == ["verify"] ? 2 : 1), "\(outcome)")
            #expect(outcome.complaints.contains("run qoectl db migrate"), "\(outcome)")
            #expect(outcome.output.isEmpty)
        }
        _ = try Schema().migrate(PostgresConnection(to: PostgresConnectionString(postgres)))
        let outcome = try qoectl("verify", nats: nowhere, postgres: postgres)
        #expect(outcome.code == 2)
        #expect(outcome.complaints.contains("cannot reach NATS"), "\(outcome)")
    }
}

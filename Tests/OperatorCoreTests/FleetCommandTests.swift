import Bus
import Foundation
import NATSClient
import PrivateServers
import TestKit
import Testing

@Suite struct FleetCommandTests {
    @Test func `an order is in force until the next one`() throws {
        try withNATSServer { server in
            func qoectl(_ arguments: String...) throws -> Outcome {
                try Qoectl.run(["fleet"] + arguments + ["--nats-url", server.url])
            }
            #expect(try qoectl("status").output.contains("never stopped"))
            #expect(try qoectl("stop", "--reason", "maintenance").code == 0)
            let stopped = try qoectl("status", "--json").object()
            #expect(stopped["suppressed"] as? Bool == true)
            #expect(stopped["reason"] as? String == "maintenance")
            // On disk, not only in the server's memory.
            try server.kill()
            try server.restart()
            #expect(try qoectl("status").output.contains("nothing since"))
            #expect(try qoectl("resume").code == 0)
            let resumed = try qoectl("status", "--json").object()
            #expect(resumed["suppressed"] as? Bool == false)
            #expect(resumed["reason"] == nil)
        }
    }

    @Test func `without NATS the order is said not to be given`() throws {
        let outcome = try Qoectl.run(["fleet", "stop", "--nats-url", "nats://127.0.0.1:1"])
        #expect(outcome.code == 1)
        #expect(outcome.complaints.contains("127.0.0.1:1"))
    }
}
